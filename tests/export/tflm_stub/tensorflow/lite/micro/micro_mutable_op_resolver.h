// What a tflm kit uses of TensorFlow Lite Micro, declared as in tensorflow/tflite-micro, for a test without the library.
#pragma once
#include <cstddef>
#include <cstdint>
#include <cstdio>

enum TfLiteStatus { kTfLiteOk = 0, kTfLiteError = 1 };

union TfLitePtrUnion {
  float* f;
  std::int16_t* i16;
  std::uint8_t* uint8;
  std::int8_t* int8;
};

struct TfLiteTensor {
  TfLitePtrUnion data;
};

namespace tflite {

// Takes as many operators as it was made for, each once, and says what it was given.
template <unsigned int tOpCount>
class MicroMutableOpResolver {
 public:
  unsigned int count = 0;

#define STUB_OPERATOR(name) \
  TfLiteStatus Add##name() { \
    std::printf("operator %s\n", #name); \
    return ++count <= tOpCount ? kTfLiteOk : kTfLiteError; \
  }
  STUB_OPERATOR(Add)
  STUB_OPERATOR(Conv2D)
  STUB_OPERATOR(FullyConnected)
  STUB_OPERATOR(MaxPool2D)
  STUB_OPERATOR(Reshape)
  STUB_OPERATOR(Softmax)
  STUB_OPERATOR(StridedSlice)
  STUB_OPERATOR(UnidirectionalSequenceLSTM)
#undef STUB_OPERATOR
};

}  // namespace tflite

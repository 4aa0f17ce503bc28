// An interpreter whose "model" prints its first input as bytes and answers with class 3. See the resolver beside it.
#pragma once
#include "micro_mutable_op_resolver.h"
#include "tensorflow/lite/schema/schema_generated.h"

namespace tflite {

class MicroInterpreter {
 public:
  template <class Resolver>
  MicroInterpreter(const Model*, const Resolver&, std::uint8_t*, std::size_t arena_size) : arena_size_(arena_size) {
    input_.data.uint8 = input_bytes_;
    output_.data.uint8 = output_bytes_;
  }
  TfLiteStatus AllocateTensors() { return kTfLiteOk; }
  std::size_t arena_used_bytes() const { return arena_size_; }
  TfLiteTensor* input(std::size_t) { return &input_; }
  TfLiteTensor* output(std::size_t) { return &output_; }
  TfLiteStatus Reset() {
    std::printf("reset\n");
    return kTfLiteOk;
  }
  TfLiteStatus Invoke() {
#ifdef STUB_INT8
    std::printf("input %d\n", input_.data.int8[0]);
    for (int index = 0; index < 10; ++index) output_.data.int8[index] = index == 3 ? 64 : -128;
#else
    std::printf("input %d\n", static_cast<int>(input_.data.f[0]));
    for (int index = 0; index < 10; ++index) output_.data.f[index] = index == 3 ? 0.75f : 0.0f;
#endif
    return kTfLiteOk;
  }

 private:
  std::size_t arena_size_;
  alignas(4) std::uint8_t input_bytes_[4096];
  alignas(4) std::uint8_t output_bytes_[64];
  TfLiteTensor input_, output_;
};

}  // namespace tflite

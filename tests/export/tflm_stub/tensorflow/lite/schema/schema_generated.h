// A model is nothing but its bytes here; the first eight are those of a file.
#pragma once
#define TFLITE_SCHEMA_VERSION 3

namespace tflite {

struct Model {
  unsigned char bytes[8];
  unsigned int version() const { return bytes[4] == 'T' && bytes[7] == '3' ? 3 : 0; }
};

inline const Model* GetModel(const void* buffer) { return static_cast<const Model*>(buffer); }

}  // namespace tflite

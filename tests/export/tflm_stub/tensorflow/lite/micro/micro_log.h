#pragma once
#include <cstdarg>
#include <cstdio>

inline void MicroPrintf(const char* format, ...) {
  std::va_list arguments;
  va_start(arguments, format);
  std::vprintf(format, arguments);
  va_end(arguments);
  std::printf("\n");
}

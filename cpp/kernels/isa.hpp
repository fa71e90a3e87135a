// What a *.isa.cpp file includes: the vector type and the register tiles of the instruction set that it is being
// compiled for (FASTCONV_ISA: scalar, avx2, avx512 or neon, also the namespace). Such files include nothing of the
// standard library that has inline functions: the linker might keep this file's copy, compiled for this
// instruction set, for the whole program.
#pragma once
#include <cstdint>

#define FASTCONV_IS_scalar 1
#define FASTCONV_IS_avx2 2
#define FASTCONV_IS_avx512 3
#define FASTCONV_IS_neon 4
#define FASTCONV_CAT_(a, b) a##b
#define FASTCONV_CAT(a, b) FASTCONV_CAT_(a, b)
#if FASTCONV_CAT(FASTCONV_IS_, FASTCONV_ISA) == 4
#include "kernels/simd/vec_neon.hpp"
#elif FASTCONV_CAT(FASTCONV_IS_, FASTCONV_ISA) == 3
#include "kernels/simd/vec_avx512.hpp"
#elif FASTCONV_CAT(FASTCONV_IS_, FASTCONV_ISA) == 2
#include "kernels/simd/vec_avx2.hpp"
#else
#include "kernels/simd/vec_scalar.hpp"
#endif
#include "kernels/simd/tiles.hpp"

#if defined(__GNUC__)
#define FASTCONV_UNROLL _Pragma("GCC unroll 64")
#define FASTCONV_NOINLINE __attribute__((noinline))
#define FASTCONV_INLINE inline __attribute__((always_inline))
#define FASTCONV_PREFETCH(p) __builtin_prefetch(p, 0, 2)  // into L2; p may be anything
#else
#define FASTCONV_UNROLL
#define FASTCONV_NOINLINE
#define FASTCONV_INLINE inline
#define FASTCONV_PREFETCH(p)
#endif

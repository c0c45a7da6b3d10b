/* bfloat16: float32 with the last 16 bits rounded away. Two of them make a word of 32 bits; a product of words is two
 * products of numbers, both added to a float32, the high halves' first, as VDPBF16PS does it.
 *
 * native: 1 where the CPU's own instructions do it (AVX512_BF16), 0 where rounding and multiply-adds do, with the same bits:
 * a product of two bfloat16 has 16 bits, so it is exact in float32. It is a constant in each use.
 */
#ifndef FDL_SHARED_BFLOAT16_H
#define FDL_SHARED_BFLOAT16_H

#include <string.h>

#include "../kernels.h"
#include "tile.h"
#include "vec.h"

#if FDL_IS_F32
typedef uint32_t U; /* a word */
typedef int32_t VIU __attribute__((vector_size(FDL_VBYTES), aligned(4), may_alias));
typedef uint32_t VW __attribute__((vector_size(FDL_VBYTES), may_alias));

INLINE VI load_words(const U *p) { return *(const VIU *)p; }
INLINE void store_words(U *p, VI v) { *(VIU *)p = v; }
INLINE VI splat_word(U word) { return (I)word - (VI){0}; }

/* Whether products are those of instructions: a build that knows none rounds in their place, and holds no second copy of that. */
INLINE int natively(int64_t products) { return FDL_VBYTES == 64 && products == FDL_NATIVE; }

/* Each lane rounded to bfloat16, to nearest, ties to even, as the high half of a word whose low half means nothing. Numbers
 * too small for a normal float32 become zero, a NaN stays one. */
INLINE VI rounded(V v) {
    VI bits = (VI)v, nan = v != v, up = (VI)((VW)bits + 0x7fff + ((VW)bits >> 16 & 1));
    up = (nan & (bits | 0x400000)) | (~nan & up);
    return up & ~(((bits & 0x7f800000) == 0) & 0x7fffffff);
}

/* Lane i: low[i] in the low half of a word, high[i] in the high half. */
INLINE VI pair_words(int native, V low, V high) {
#if FDL_VBYTES == 64
    if (native) {
        typedef int16_t VH __attribute__((vector_size(FDL_VBYTES)));
        VH halves;
        __asm__("vcvtne2ps2bf16 %2, %1, %0" : "=v"(halves) : "v"(high), "v"(low)); /* 16 of low, then 16 of high */
        return (VI)__builtin_shufflevector(halves, halves, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23, 8, 24, 9,
                                           25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31);
    }
#endif
    (void)native;
    return (VI)((VW)rounded(low) >> 16) | (rounded(high) & (I)0xffff0000);
}

/* 2 VL numbers in a row as VL words: number 2 i in the low half of word i. */
INLINE VI row_words(int native, V first, V second) {
    VI words;
#if FDL_VBYTES == 64
    if (native) {
        __asm__("vcvtne2ps2bf16 %2, %1, %0" : "=v"(words) : "v"(second), "v"(first));
        return words;
    }
#endif
    (void)native;
    typedef int16_t VH __attribute__((vector_size(FDL_VBYTES / 2)));
    VH half[2] = {__builtin_convertvector((VI)((VW)rounded(first) >> 16), VH),
                  __builtin_convertvector((VI)((VW)rounded(second) >> 16), VH)};
    memcpy(&words, half, sizeof words);
    return words;
}

/* acc + the products of both halves. */
INLINE V dot_words(int native, V acc, VI a, VI b) {
#if FDL_VBYTES == 64
    if (native) {
        __asm__("vdpbf16ps %2, %1, %0" : "+v"(acc) : "v"(a), "v"(b));
        return acc;
    }
#endif
    (void)native;
    acc += (V)(a & (I)0xffff0000) * (V)(b & (I)0xffff0000);
    return acc + (V)((VW)a << 16) * (V)((VW)b << 16);
}

/* The register tile over words: as `tile`, k of them, each of two numbers. */
INLINE void word_tile(int native, int rows, int wide, size_t k, const U *a, size_t a_row, size_t a_col, const U *b, size_t ldb,
                      V acc[FDL_TILE_MAX][2]) {
    for (size_t i = 0; i < k; i++, a += a_col, b += ldb) {
        VI b0 = load_words(b), b1 = wide == 2 ? load_words(b + VL) : b0;
#pragma GCC unroll 12
        for (int r = 0; r < rows; r++) {
            VI x = splat_word(a[(size_t)r * a_row]);
            acc[r][0] = dot_words(native, acc[r][0], x, b0);
            if (wide == 2) acc[r][1] = dot_words(native, acc[r][1], x, b1);
        }
    }
}
#endif

#endif

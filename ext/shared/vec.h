/* Vectors of the build's width over the element type, from GCC/Clang vector extensions.
 *
 * FDL_IS_F32 is 1 or 0, from the compiler's command line: elements are float32 or float64.
 */
#ifndef FDL_SHARED_VEC_H
#define FDL_SHARED_VEC_H

#include <stddef.h>
#include <stdint.h>
#if defined(__x86_64__)
#include <immintrin.h>
#endif

#if defined(__AVX512F__)
#define FDL_VBYTES 64
#elif defined(__AVX__)
#define FDL_VBYTES 32
#else
#define FDL_VBYTES 16
#endif

#define INLINE static inline __attribute__((always_inline))
#define UNUSED __attribute__((unused))

#if FDL_IS_F32
typedef float T;
typedef int32_t I;
#define FDL_SQRT __builtin_sqrtf
#else
typedef double T;
typedef int64_t I;
#define FDL_SQRT __builtin_sqrt
#endif
#define VL (FDL_VBYTES / sizeof(T)) /* elements in a vector */

typedef T V __attribute__((vector_size(FDL_VBYTES), may_alias));
typedef T VU __attribute__((vector_size(FDL_VBYTES), aligned(__alignof__(T)), may_alias));
typedef I VI __attribute__((vector_size(FDL_VBYTES), may_alias));

INLINE V load(const T *p) { return *(const V *)p; }
INLINE void store(T *p, V v) { *(V *)p = v; }
INLINE V loadu(const T *p) { return *(const VU *)p; }
INLINE void storeu(T *p, V v) { *(VU *)p = v; }
INLINE V splat(T x) { return x - (V){0}; } /* x - 0 keeps the sign of zero; x + 0 would not */

/* mask ? a : b, lane by lane; masks are all ones or all zeros, as comparisons give them. */
INLINE V choose(VI mask, V a, V b) { return (V)((mask & (VI)a) | (~mask & (VI)b)); }
INLINE V keep(VI mask, V a) { return (V)(mask & (VI)a); }
/* The larger of two; a NaN in `a` stays, as the comparison with it is false. */
INLINE V larger(V a, V b) { return choose(a < b, b, a); }

/* x, but no less than low and no more than high; NaN stays. */
INLINE V clamp(V x, T low, T high) {
    x = choose(x < low, splat(low), x);
    return choose(x > high, splat(high), x);
}

INLINE V magnitude_of(V x) { return (V)((VI)x & ~(VI)splat((T)-0.0)); }
/* 1, -1, or 0 for zero and NaN */
INLINE V sign(V x) { return keep(x > 0, splat(1)) - keep(x < 0, splat(1)); }

#if FDL_VBYTES == 64 && FDL_IS_F32
#define FDL_IOTA {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15}
#define FDL_ZIP_LOW 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23
#define FDL_ZIP_HIGH 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31
#elif FDL_VBYTES == 64 || (FDL_VBYTES == 32 && FDL_IS_F32)
#define FDL_IOTA {0, 1, 2, 3, 4, 5, 6, 7}
#define FDL_ZIP_LOW 0, 8, 1, 9, 2, 10, 3, 11
#define FDL_ZIP_HIGH 4, 12, 5, 13, 6, 14, 7, 15
#elif FDL_VBYTES == 32 || FDL_IS_F32
#define FDL_IOTA {0, 1, 2, 3}
#define FDL_ZIP_LOW 0, 4, 1, 5
#define FDL_ZIP_HIGH 2, 6, 3, 7
#else
#define FDL_IOTA {0, 1}
#define FDL_ZIP_LOW 0, 2
#define FDL_ZIP_HIGH 1, 3
#endif

/* Lanes first + 0 .. first + VL - 1 that are below end. */
INLINE VI lanes_below(size_t first, size_t end) {
    const VI iota = FDL_IOTA;
    return iota < (I)end - (I)first - (VI){0};
}

/* The sum of the lanes, always in the same order: halves onto halves. */
INLINE T sum_lanes(V v) {
    T lane[VL];
    __builtin_memcpy(lane, &v, sizeof v);
    for (size_t half = VL / 2; half > 0; half /= 2)
        for (size_t i = 0; i < half; i++) lane[i] += lane[i + half];
    return lane[0];
}

/* Lane by lane; the vector extensions have no root, and the compilers do not make one of the loop. */
INLINE V square_root(V v) {
#if defined(__AVX512F__) && FDL_IS_F32
    return (V)_mm512_sqrt_ps((__m512)v);
#elif defined(__AVX512F__)
    return (V)_mm512_sqrt_pd((__m512d)v);
#elif defined(__AVX__) && FDL_IS_F32
    return (V)_mm256_sqrt_ps((__m256)v);
#elif defined(__AVX__)
    return (V)_mm256_sqrt_pd((__m256d)v);
#elif defined(__SSE2__) && FDL_IS_F32
    return (V)_mm_sqrt_ps((__m128)v);
#elif defined(__SSE2__)
    return (V)_mm_sqrt_pd((__m128d)v);
#else
    for (size_t i = 0; i < VL; i++) v[i] = FDL_SQRT(v[i]);
    return v;
#endif
}

/* Transposes VL vectors in registers: log2(VL) perfect shuffles of rows i and i + VL/2. */
INLINE void transpose(V row[VL]) {
    for (size_t pass = 1; pass < VL; pass *= 2) {
        V out[VL];
        for (size_t i = 0; i < VL / 2; i++) {
            out[2 * i] = __builtin_shufflevector(row[i], row[i + VL / 2], FDL_ZIP_LOW);
            out[2 * i + 1] = __builtin_shufflevector(row[i], row[i + VL / 2], FDL_ZIP_HIGH);
        }
        for (size_t i = 0; i < VL; i++) row[i] = out[i];
    }
}

/* One vector whose lane i is the sum of row[i]: pairs of rows are zipped and added, log2(VL) times. */
INLINE V sum_rows(V row[VL]) {
#pragma GCC unroll 4
    for (size_t half = VL / 2; half > 0; half /= 2)
#pragma GCC unroll 8
        for (size_t i = 0; i < half; i++)
            row[i] = __builtin_shufflevector(row[i], row[i + half], FDL_ZIP_LOW) +
                     __builtin_shufflevector(row[i], row[i + half], FDL_ZIP_HIGH);
    return row[0];
}

#endif

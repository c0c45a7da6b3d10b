/* The products of a dense layer's weight gradient, dW = x^T dy: a strip of dy is transposed into rows, so that a tile reads
 * its outputs in vectors. dense_weight_grad.h stores the sums, dense_step.h steps the weights by them. */
#ifndef FDL_KERNELS_WEIGHT_TILE_H
#define FDL_KERNELS_WEIGHT_TILE_H

#include "../kernels.h"
#include "../shared/bfloat16.h"
#include "../shared/panels.h"
#include "../shared/tile.h"
#include "../shared/vec.h"

/* Transposes features [f0, f0 + wide VL) of samples [s0, s1) into rows: out (s1 - s0, 2 VL). Features from n on become zeros
 * and are not read: that memory may belong to another thread, which may be writing it.
 * Not inlined: a dense_weight_step into which it was inlined took 3 % longer, for want of registers. */
static __attribute__((noinline)) void transpose_strip(size_t wide, const T *dy, size_t n, size_t f0, size_t s0, size_t s1,
                                                      T *out) {
    for (size_t s = s0; s < s1; s += VL)
        for (size_t half = 0; half < wide; half++) {
            const T *from = dy + ((s / FDL_PANEL) * n + f0 + half * VL) * FDL_PANEL + s % FDL_PANEL;
            V block[VL];
            for (size_t i = 0; i < VL; i++)
                block[i] = f0 + half * VL + i < n ? load(from + i * FDL_PANEL) : (V){0};
            transpose(block);
            for (size_t i = 0; i < VL; i++) store(out + (s - s0 + i) * 2 * VL + half * VL, block[i]);
        }
}

#if FDL_IS_F32
/* The same as words of two samples: out ((s1 - s0 + 1) / 2, 2 VL). What lies beyond s1 becomes zero. */
static __attribute__((noinline)) void transpose_words(int native, size_t wide, const T *dy, size_t n, size_t f0, size_t s0,
                                                      size_t s1, U *out) {
    for (size_t s = s0; s < s1; s += 2 * VL)
        for (size_t half = 0; half < wide; half++) {
            const T *from = dy + ((s / FDL_PANEL) * n + f0 + half * VL) * FDL_PANEL + s % FDL_PANEL;
            const VI first = lanes_below(s, s1), second = lanes_below(s + VL, s1);
            V block[VL];
            for (size_t i = 0; i < VL; i++) {
                block[i] = (V){0};
                if (f0 + half * VL + i >= n) continue;
                V low = keep(first, load(from + i * FDL_PANEL)), high = keep(second, load(from + i * FDL_PANEL + VL));
                block[i] = (V)(native ? row_words(1, low, high) : row_words(0, low, high));
            }
            transpose(block);
            for (size_t i = 0; i < VL; i++) store_words(out + ((s - s0) / 2 + i) * 2 * VL + half * VL, (VI)block[i]);
        }
}
#endif

/* Numbers of a panel's feature, as a product of this kind reads them. */
INLINE size_t lane_width(int products) { return products == FDL_FLOATS ? FDL_PANEL : FDL_PANEL / 2; }

/* Features [f0, f0 + wide VL) of samples [s0, s1) of dy, as tiles of this kind of product read them: see above. */
INLINE void turn_strip(int products, size_t wide, const T *dy, size_t n, size_t f0, size_t s0, size_t s1, T *out) {
#if FDL_IS_F32
    if (products != FDL_FLOATS) {
        transpose_words(products == FDL_NATIVE, wide, dy, n, f0, s0, s1, (U *)out);
        return;
    }
#endif
    (void)products;
    transpose_strip(wide, dy, n, f0, s0, s1, out);
}

/* acc += x^T dy over `samples` of a panel from `s` on, which is even. `panel` begins at the tile's first row, `strip` at the
 * panel's first sample. */
INLINE void sample_tile(int products, int rows, int wide, size_t s, size_t samples, const T *panel, const T *strip,
                        V acc[FDL_TILE_MAX][2]) {
#if FDL_IS_F32
    if (products != FDL_FLOATS) {
        word_tile(products == FDL_NATIVE, rows, wide, (samples + 1) / 2, (const U *)panel + s / 2, FDL_PANEL / 2, 1,
                  (const U *)strip + s * VL, 2 * VL, acc);
        return;
    }
#endif
    (void)products;
    tile(rows, wide, samples, panel + s, FDL_PANEL, 1, strip + s * 2 * VL, 2 * VL, acc);
}

/* acc += x^T dy over samples [s0, s1), which start at a panel's first. */
INLINE void weight_grad_tile(int products, int rows, int wide, size_t k, const T *x, size_t s0, size_t s1, const T *strip,
                             V acc[FDL_TILE_MAX][2]) {
    for (size_t s = s0; s < s1; s += FDL_PANEL) {
        const T *panel = x + (s / FDL_PANEL) * k * lane_width(products);
        const T *from = strip + (s - s0) * (products == FDL_FLOATS ? 2 * VL : VL);
        if (s1 - s >= FDL_PANEL) sample_tile(products, rows, wide, 0, FDL_PANEL, panel, from, acc);
        else sample_tile(products, rows, wide, 0, s1 - s, panel, from, acc);
    }
}

/* The sum of a strip's rows: out (wide VL) = from + sum over samples. */
INLINE void sum_strip(int wide, const T *strip, size_t samples, const T *from, T *out) {
    for (int j = 0; j < wide; j++) {
        V sum = {0};
        if (from) sum = load(from + j * VL);
        for (size_t s = 0; s < samples; s++) sum += load(strip + s * 2 * VL + j * VL);
        store(out + j * VL, sum);
    }
}

/* The same of features [f, f + wide VL) of dy, where a strip holds words: the bias's gradient is of dy as it is. */
INLINE void sum_features(int wide, const T *dy, size_t n, size_t f, size_t s0, size_t s1, const T *from, T *out) {
    for (int j = 0; j < wide; j++) {
        V acc[VL] = {{0}};
        for (size_t s = s0; s < s1; s += VL)
            for (size_t i = 0; i < VL && f + j * VL + i < n; i++)
                acc[i] += keep(lanes_below(s, s1),
                               load(dy + ((s / FDL_PANEL) * n + f + j * VL + i) * FDL_PANEL + s % FDL_PANEL));
        V sum = sum_rows(acc);
        if (from) sum += load(from + j * VL);
        store(out + j * VL, sum);
    }
}

/* Calls each(context, wide, f) for features [f, f1) rounded up to whole vectors, `wide` vectors at a time: 1 or 2, a
 * constant in each call. A pair of vectors starts at a multiple of its width, so that it does not cross strips. */
typedef void (*strip_body)(void *context, int wide, size_t f);
INLINE void for_strips(strip_body each, void *context, size_t f, size_t f1) {
    size_t end = (f1 + VL - 1) / VL * VL;
    if (f % (2 * VL) && f < end) each(context, 1, f), f += VL;
    for (; f + 2 * VL <= end; f += 2 * VL) each(context, 2, f);
    if (f < end) each(context, 1, f);
}

#endif

/* Matrices in strips among themselves: transposed, and multiplied. The steps of Muon are made of these. */
#ifndef FDL_KERNELS_STRIPS_H
#define FDL_KERNELS_STRIPS_H

#include "../kernels.h"
#include "../shared/panels.h"
#include "../shared/tile.h"
#include "../shared/vec.h"
#include "weight_tile.h"

/* y = x^T: rows [f0, f1) of x become columns of y; the padding of y becomes zeros. */
static void transpose_strips(const void *args, fdl_range range, const fdl_step *step, void *scratch) {
    const transpose_strips_args *a = args;
    const size_t k = a->inputs, n = a->outputs;
    const T *x = a->x;
    T *y = a->y;
    (void)step, (void)scratch;
    for (size_t f = range.f0; f < range.f1; f += FDL_UNIT) {
        const size_t count = k - f < FDL_UNIT ? k - f : FDL_UNIT;
        T *to = y + column(n, f);
        for (size_t row = 0; row < n; row++, to += FDL_STRIP) {
            const T *from = x + column(k, row) + f * FDL_STRIP;
            for (size_t i = 0; i < FDL_UNIT; i++) to[i] = i < count ? from[i * FDL_STRIP] : 0;
        }
    }
}

/* A strip of the product: columns that begin at element b of b and y of y. */
typedef struct {
    const multiply_strips_args *of;
    size_t b, y;
    int wide;
} strip_product;

INLINE void multiply_tile(void *context, int rows, size_t row) {
    const strip_product *s = context;
    const multiply_strips_args *a = s->of;
    const T *left = a->a, *right = (const T *)a->b + s->b, *c = a->c;
    V acc[FDL_TILE_MAX][2], other[FDL_TILE_MAX][2];
    const T alpha = (T)a->alpha, beta = (T)a->beta;
    const size_t at = s->y + row * FDL_STRIP;
    tile_clear(rows, s->wide, acc);
    for (size_t i = 0; i < a->inputs; i += FDL_STRIP)
        tile(rows, s->wide, a->inputs - i < FDL_STRIP ? a->inputs - i : FDL_STRIP, left + (i * a->rows + row * FDL_STRIP),
             FDL_STRIP, 1, right + i * FDL_STRIP, FDL_STRIP, acc);
    tile_clear(rows, s->wide, other);
    if (c) tile_load(rows, s->wide, c + at, FDL_STRIP, other);
#pragma GCC unroll 12
    for (int r = 0; r < rows; r++)
        for (int j = 0; j < s->wide; j++) acc[r][j] = alpha * other[r][j] + beta * acc[r][j];
    tile_store(rows, s->wide, acc, (T *)a->y + at, FDL_STRIP);
}

INLINE void multiply_strip(void *context, int wide, size_t f) {
    const multiply_strips_args *a = context;
    strip_product strip = {a, column(a->inputs, f), column(a->rows, f), wide};
    for_tiles(multiply_tile, &strip, 0, a->rows);
}

static void multiply_strips(const void *args, fdl_range range, const fdl_step *step, void *scratch) {
    multiply_strips_args a = *(const multiply_strips_args *)args;
    (void)step, (void)scratch;
    for_strips(multiply_strip, &a, range.f0, range.f1);
}

#endif

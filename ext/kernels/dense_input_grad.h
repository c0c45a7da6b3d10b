/* The gradient of a dense layer's inputs, dx = dy W^T, on panels, without packing. */
#ifndef FDL_KERNELS_DENSE_INPUT_GRAD_H
#define FDL_KERNELS_DENSE_INPUT_GRAD_H

#include "../kernels.h"
#include "../shared/panels.h"
#include "../shared/tile.h"
#include "../shared/vec.h"
#include "dense_words.h"

/* One tile of dx = dy W^T over outputs [from, to): block by block of FDL_GRADIENT_BLOCK, each from zero, which bounds
 * float32 rounding as in forward. */
INLINE void input_grad_tile(int rows, int wide, size_t k, size_t from, size_t to, const T *w, const T *dy, T *dx,
                            const T *y) {
    V acc[FDL_TILE_MAX][2], sum[FDL_TILE_MAX][2];
    tile_clear(rows, wide, acc);
    for (size_t g = from; g < to; g += FDL_STRIP) {
        const T *strip = w + g * k;
        if (to - g >= FDL_STRIP) tile(rows, wide, FDL_STRIP, strip, FDL_STRIP, 1, dy + g * FDL_PANEL, FDL_PANEL, acc);
        else tile(rows, wide, to - g, strip, FDL_STRIP, 1, dy + g * FDL_PANEL, FDL_PANEL, acc);
    }
    if (from > 0) {
        tile_load(rows, wide, dx, FDL_PANEL, sum);
        tile_add(rows, wide, acc, sum);
    }
    if (y) { /* x is the output y of a ReLU: multiply with that one's slope too */
        tile_load(rows, wide, y, FDL_PANEL, sum);
#pragma GCC unroll 12
        for (int r = 0; r < rows; r++)
            for (int j = 0; j < wide; j++) acc[r][j] = keep(sum[r][j] > 0, acc[r][j]);
    }
    tile_store(rows, wide, acc, dx, FDL_PANEL);
}

/* What the tiles of dx are made of: outputs [begin, end) of the layer. */
typedef struct {
    const T *dy, *w, *y;
    T *dx;
    size_t k, n, p0, p1, begin, end;
    const fdl_step *step;
} input_grad_tiles;

/* `rows` features of dx from f on, for all samples of the range. */
INLINE void input_grad_rows(void *context, int rows, size_t f) {
    const input_grad_tiles *t = context;
    const T *y = t->y;
    for (size_t p = t->p0; p < t->p1; p++) {
        size_t vectors = vectors_for(samples_of(t->step, p)), v = 0, at = (p * t->k + f) * FDL_PANEL;
        const T *from = t->dy + p * t->n * FDL_PANEL, *weights = t->w + f * FDL_STRIP;
        for (; v + 2 <= vectors; v += 2)
            input_grad_tile(rows, 2, t->k, t->begin, t->end, weights, from + v * VL, t->dx + at + v * VL,
                            y ? y + at + v * VL : y);
        if (v < vectors)
            input_grad_tile(rows, 1, t->k, t->begin, t->end, weights, from + v * VL, t->dx + at + v * VL,
                            y ? y + at + v * VL : y);
    }
}

static void dense_input_grad(const void *args, fdl_range range, const fdl_step *step, void *scratch) {
    const dense_input_grad_args *a = args;
#if FDL_IS_F32
    if (natively(a->products)) {
        input_grad_native(a, range, step, scratch);
        return;
    }
    if (a->products != FDL_FLOATS) {
        input_grad_rounded(a, range, step, scratch);
        return;
    }
#endif
    size_t n = a->outputs;
    (void)scratch;
    for (size_t begin = 0, end; begin < n; begin = end) { /* outermost: a block of dy stays in the cache for all tiles */
        end = n - begin < FDL_GRADIENT_BLOCK ? n : begin + FDL_GRADIENT_BLOCK;
        input_grad_tiles tiles = {a->dy, a->w, end == n ? a->relu : NULL, a->dx, a->inputs, n, range.p0, range.p1,
                                  begin, end, step};
        for_tiles(input_grad_rows, &tiles, range.f0, range.f1);
    }
}

#endif

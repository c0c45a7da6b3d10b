/* A dense layer's outputs y = act(x W + b) on panels, without packing: weights lie in strips (see kernels.h), as the tiles
 * read them. */
#ifndef FDL_KERNELS_DENSE_FORWARD_H
#define FDL_KERNELS_DENSE_FORWARD_H

#include "../kernels.h"
#include "../shared/panels.h"
#include "../shared/tile.h"
#include "../shared/vec.h"
#include "dense_words.h"
#include "forward_end.h"

/* What a dense layer's outputs are summed over: inputs [from, to) in blocks. Those before `middle` and those from it on are
 * summed apart, then added. */
typedef struct {
    size_t from, middle, to, block;
    int whole; /* whether that is all inputs, so that what follows the sum can be done too */
} forward_sum;

/* One tile of outputs for VL or 2 VL samples; `spare` is room for the second half's sums. */
INLINE void forward_tile(int rows, int wide, const forward_sum *sum, forward_end end_with, const T *w, const T *x, T *y,
                         T *spare) {
    V acc[FDL_TILE_MAX][2], first[FDL_TILE_MAX][2];
    T *out = y;
    for (size_t begin = sum->from, end;; begin = end, out = spare) {
        end = begin < sum->middle && sum->middle < sum->to ? sum->middle : sum->to;
        tile_in_blocks(rows, wide, end - begin, sum->block, w + begin * FDL_STRIP, 1, FDL_STRIP, x + begin * FDL_PANEL,
                       out, acc);
        if (out == spare) {
            tile_load(rows, wide, y, FDL_PANEL, first);
            tile_add(rows, wide, acc, first);
        }
        if (end == sum->to) break;
        tile_store(rows, wide, acc, y, FDL_PANEL);
    }
    if (sum->whole)
#pragma GCC unroll 12
        for (int r = 0; r < rows; r++)
            for (int j = 0; j < wide; j++) acc[r][j] = finish_vector(&end_with, (size_t)r, acc[r][j]);
    tile_store(rows, wide, acc, y, FDL_PANEL);
}

#define FDL_FEW_ROWS 2   /* up to so many samples, vectors go along the outputs: most of a panel's lanes would be idle */
#define FDL_ROW_UNITS 8  /* units of one row's outputs at once: enough sums to hide the latency of adding */

/* Adds inputs [begin, end) of one sample to the sums of `units` units of outputs, FDL_UNIT / VL vectors each. `units` is a
 * constant in each use. from: the units' weights in strips. */
INLINE void row_sums(size_t units, size_t k, const T *from, const T *x, size_t begin, size_t end, V *sum) {
    enum { EACH = FDL_UNIT / VL };
    for (size_t i = begin; i < end; i++)
        for (size_t u = 0; u < units; u++)
            for (size_t j = 0; j < EACH; j++)
                sum[u * EACH + j] += x[i * FDL_PANEL] * load(from + i * FDL_STRIP + column(k, u * FDL_UNIT) + j * VL);
}

/* finish_vector for a vector along the outputs from f on. */
INLINE V finish_outputs(const forward_end *end, size_t f, size_t f1, V v) {
    if (f < f1) { /* the vectors of `end` are padded up to a unit; what lies beyond is not stored */
        if (end->b) v += load(end->b + f);
        if (end->scale) {
            V shift = {0};
            if (end->shift) shift = load(end->shift + f);
            v = (v - load(end->mean + f)) * load(end->scale + f) + shift;
        }
    }
    return end->relu ? keep(~(v < 0), v) : v;
}

/* One sample: outputs [f0, f1) in vectors, each summed over k in the order that tiles sum in, so with the same bits. Whole
 * strips at a time, or half of one: outputs of other threads are not read, because those may be writing them. */
static void forward_row(size_t k, size_t n, size_t block, const T *w, const forward_end *end_with, const T *x, T *y,
                        size_t f0, size_t f1) {
    enum { EACH = FDL_UNIT / VL };
    for (size_t f = f0, units; f < f1; f += units * FDL_UNIT) {
        units = f % FDL_STRIP ? 1 : (f1 - f + FDL_UNIT - 1) / FDL_UNIT;
        if (units > 1) units = (units + (f1 == n)) / 2 * 2; /* no thread owns the padding behind the last feature */
        if (units > FDL_ROW_UNITS) units = FDL_ROW_UNITS;
        const T *from = w + column(k, f);
        V total[FDL_ROW_UNITS * EACH];
        for (size_t begin = 0; begin < k; begin += block) {
            V sum[FDL_ROW_UNITS * EACH] = {{0}};
            size_t end = k - begin < block ? k : begin + block;
            switch (units) {
                case 1: row_sums(1, k, from, x, begin, end, sum); break;
                case 2: row_sums(2, k, from, x, begin, end, sum); break;
                case 4: row_sums(4, k, from, x, begin, end, sum); break;
                case 6: row_sums(6, k, from, x, begin, end, sum); break;
                default: row_sums(8, k, from, x, begin, end, sum);
            }
            for (size_t j = 0; j < units * EACH; j++) {
                if (begin > 0) sum[j] += total[j];
                total[j] = sum[j];
            }
        }
        T values[FDL_ROW_UNITS * FDL_UNIT];
        for (size_t j = 0; j < units * EACH; j++)
            storeu(values + j * VL, finish_outputs(end_with, f + j * VL, f1, total[j]));
        for (size_t g = f; g < f1 && g < f + units * FDL_UNIT; g++) y[g * FDL_PANEL] = values[g - f];
    }
}

/* What the tiles of a layer's outputs are made of. */
typedef struct {
    const T *x, *w;
    T *y, *spare;
    size_t k, n, p0, p1;
    const fdl_step *step;
    const forward_sum *sum;
    const forward_end *end_with;
} forward_tiles;

/* `rows` outputs from f on, for all samples of the range. */
INLINE void forward_rows(void *context, int rows, size_t f) {
    const forward_tiles *t = context;
    for (size_t p = t->p0; p < t->p1; p++) {
        size_t vectors = vectors_for(samples_of(t->step, p)), v = 0;
        const T *from = t->x + p * t->k * FDL_PANEL, *weights = t->w + column(t->k, f);
        T *to = t->y + (p * t->n + f) * FDL_PANEL;
        forward_end last = end_at(t->end_with, f);
        for (; v + 2 <= vectors; v += 2) forward_tile(rows, 2, t->sum, last, weights, from + v * VL, to + v * VL, t->spare);
        if (v < vectors) forward_tile(rows, 1, t->sum, last, weights, from + v * VL, to + v * VL, t->spare);
    }
}

static void dense_forward(const void *args, fdl_range range, const fdl_step *step, void *scratch) {
    const dense_forward_args *a = args;
#if FDL_IS_F32
    if (natively(a->products)) {
        forward_native(a, range, step, scratch);
        return;
    }
    if (a->products != FDL_FLOATS) {
        forward_rounded(a, range, step, scratch);
        return;
    }
#endif
    const T *x = a->x, *w = a->w;
    T *y = a->y;
    size_t k = a->inputs, n = a->outputs;
    forward_sum sum = {0, a->middle, k, a->block, 1};
    forward_end end_with = {a->b, a->mean, a->scale, a->shift, a->act == FDL_RELU};
    if (a->second && range.part != FDL_BOTH) {
        sum.whole = 0;
        if (range.part == 0) sum.to = sum.middle;
        else sum.from = sum.middle, y = a->second;
    } else if (step->batch <= FDL_FEW_ROWS) {
        for (size_t p = range.p0; p < range.p1; p++)
            for (size_t s = 0; s < step->batch; s++)
                forward_row(k, n, sum.block, w, &end_with, x + p * k * FDL_PANEL + s, y + p * n * FDL_PANEL + s, range.f0,
                            range.f1);
        return;
    }
    forward_tiles tiles = {x, w, y, scratch, k, n, range.p0, range.p1, step, &sum, &end_with};
    for (size_t f = range.f0, end; f < range.f1; f = end) { /* a tile does not cross strips */
        end = f / FDL_STRIP * FDL_STRIP + FDL_STRIP;
        if (end > range.f1) end = range.f1;
        for_tiles(forward_rows, &tiles, f, end);
    }
}

/* y = act(y + second half + b) */
static void dense_finish(const void *args, fdl_range range, const fdl_step *step, void *scratch) {
    const dense_finish_args *a = args;
    T *y = a->y;
    const T *second = a->second;
    forward_end end_with = {a->b, NULL, NULL, NULL, a->act == FDL_RELU};
    size_t n = a->outputs;
    (void)scratch;
    for (size_t p = range.p0; p < range.p1; p++)
        for (size_t f = range.f0; f < range.f1; f++) {
            size_t at = (p * n + f) * FDL_PANEL, end = at + vectors_for(samples_of(step, p)) * VL;
            for (size_t i = at; i < end; i += VL) store(y + i, finish_vector(&end_with, f, load(second + i) + load(y + i)));
        }
}

#endif

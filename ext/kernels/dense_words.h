/* A dense layer's products on words of two bfloat16: inputs are rounded once a step, weights while they are packed for the
 * tiles that read them; sums, and what follows them, are float32. */
#ifndef FDL_KERNELS_DENSE_WORDS_H
#define FDL_KERNELS_DENSE_WORDS_H

#include "../kernels.h"
#include "../shared/bfloat16.h"
#include "../shared/panels.h"
#include "../shared/tile.h"
#include "../shared/vec.h"
#include "forward_end.h"

#if FDL_IS_F32
#define FDL_WORD_INPUTS 256   /* of a strip that are packed at once: 16 KB, beside as much of a panel */
#define FDL_WORD_OUTPUTS 2048 /* of one tile's rows that are packed at once */
_Static_assert(FDL_WORD_INPUTS / 2 * FDL_STRIP * sizeof(U) <= FDL_SCRATCH, "a strip's words fit into scratch");
_Static_assert(FDL_TILE_MAX * (FDL_WORD_OUTPUTS / 2 + FDL_UNIT) * sizeof(U) <= FDL_SCRATCH, "and so do a tile's rows");

/* out (ceil((end - begin) / 2), FDL_STRIP): inputs [begin, end) of outputs [f, f1) of one strip, two inputs in a word. Only
 * whole units of outputs are read: what lies beside them may belong to another thread. */
INLINE void pack_strip(int native, size_t k, const T *w, size_t begin, size_t end, size_t f, size_t f1, U *out) {
    const T *strip = w + column(k, f) - f % FDL_STRIP;
    for (size_t i = begin; i < end; i += 2, out += FDL_STRIP)
        for (size_t j = f % FDL_STRIP; j < f % FDL_STRIP + (f1 - f); j += VL) {
            V high = {0};
            if (i + 1 < end) high = load(strip + (i + 1) * FDL_STRIP + j);
            store_words(out + j, pair_words(native, load(strip + i * FDL_STRIP + j), high));
        }
}

/* One segment of the sum over inputs: [begin, end), whose sums go to y; `other` holds those of the segment before, which are
 * added at the end. */
typedef struct {
    size_t begin, end;
    T *y;
    T *other;
    int whole; /* whether that ends the sum, so that what follows it can be done too */
} word_segment;

/* What the tiles of one strip are made of, over inputs [from, to) of a segment. */
typedef struct {
    int native;
    const word_segment *segment;
    const U *pairs, *strip; /* strip: packed, from its first output on */
    size_t from, to, k, n, p0, p1;
    const fdl_step *step;
    const forward_end *end_with;
} word_tiles;

INLINE void forward_word_tile(const word_tiles *t, int rows, int wide, size_t p, size_t f, size_t lane) {
    const word_segment *segment = t->segment;
    const size_t at = (p * t->n + f) * FDL_PANEL + lane;
    V acc[FDL_TILE_MAX][2], sum[FDL_TILE_MAX][2];
    if (t->from == segment->begin) tile_clear(rows, wide, acc);
    else tile_load(rows, wide, segment->y + at, FDL_PANEL, acc);
    word_tile(t->native, rows, wide, (t->to - t->from + 1) / 2, t->strip + f % FDL_STRIP, 1, FDL_STRIP,
              t->pairs + (p * ((t->k + 1) / 2) + t->from / 2) * FDL_PANEL + lane, FDL_PANEL, acc);
    T *to = segment->y;
    if (t->to == segment->end && segment->other) {
        tile_load(rows, wide, segment->other + at, FDL_PANEL, sum);
        tile_add(rows, wide, acc, sum);
        to = segment->other;
    }
    if (t->to == segment->end && segment->whole) {
        forward_end last = end_at(t->end_with, f);
#pragma GCC unroll 12
        for (int r = 0; r < rows; r++)
            for (int j = 0; j < wide; j++) acc[r][j] = finish_vector(&last, (size_t)r, acc[r][j]);
    }
    tile_store(rows, wide, acc, to + at, FDL_PANEL);
}

INLINE void forward_word_rows(void *context, int rows, size_t f) {
    const word_tiles *t = context;
    for (size_t p = t->p0; p < t->p1; p++) {
        size_t vectors = vectors_for(samples_of(t->step, p)), v = 0;
        for (; v + 2 <= vectors; v += 2) forward_word_tile(t, rows, 2, p, f, v * VL);
        if (v < vectors) forward_word_tile(t, rows, 1, p, f, v * VL);
    }
}

INLINE void forward_segment(int native, const dense_forward_args *a, fdl_range range, const fdl_step *step, U *strip,
                            const word_segment *segment, const forward_end *end_with) {
    for (size_t f = range.f0, end; f < range.f1; f = end) {
        end = f / FDL_STRIP * FDL_STRIP + FDL_STRIP;
        if (end > range.f1) end = range.f1;
        for (size_t from = segment->begin, to; from < segment->end; from = to) {
            to = segment->end - from < FDL_WORD_INPUTS ? segment->end : from + FDL_WORD_INPUTS;
            pack_strip(native, a->inputs, a->w, from, to, f, end, strip);
            word_tiles tiles = {native, segment, a->pairs, strip, from, to, a->inputs, a->outputs, range.p0, range.p1, step,
                                end_with};
            for_tiles(forward_word_rows, &tiles, f, end);
        }
    }
}

/* dense_forward by words. Halves of a sum go to y and to `second`; who does both adds them. */
INLINE void forward_words(int native, const dense_forward_args *a, fdl_range range, const fdl_step *step, void *scratch) {
    const forward_end end_with = {a->b, a->mean, a->scale, a->shift, a->act == FDL_RELU};
    const int halves = a->second != NULL;
    word_segment first = {0, halves ? a->middle : a->inputs, a->y, NULL, !halves};
    word_segment second = {a->middle, a->inputs, a->second, range.part == FDL_BOTH ? a->y : NULL, range.part == FDL_BOTH};
    if (!halves || range.part != 1) forward_segment(native, a, range, step, scratch, &first, &end_with);
    if (halves && range.part != 0) forward_segment(native, a, range, step, scratch, &second, &end_with);
}

/* out (rows, ld): outputs [begin, end) of a tile's rows of W, two outputs in a word. */
INLINE void pack_outputs(int native, int rows, size_t k, const T *w, size_t i, size_t begin, size_t end, U *out, size_t ld) {
    for (size_t g = begin; g < end; g += FDL_STRIP)
        for (int r = 0; r < rows; r++) {
            const T *from = w + g * k + (i + (size_t)r) * FDL_STRIP;
            for (size_t j = 0; j < FDL_STRIP; j += 2 * VL)
                store_words(out + (size_t)r * ld + (g - begin + j) / 2, row_words(native, load(from + j), load(from + j + VL)));
        }
}

/* What the tiles of dx are made of. */
typedef struct {
    int native;
    const dense_input_grad_args *a;
    fdl_range range;
    const fdl_step *step;
    U *rows;
} word_grads;

INLINE void input_word_tile(const word_grads *t, int rows, int wide, size_t p, size_t i, size_t lane, size_t begin, size_t end,
                            size_t ld) {
    const dense_input_grad_args *a = t->a;
    const size_t at = (p * a->inputs + i) * FDL_PANEL + lane, pairs = (a->outputs + 1) / 2;
    T *dx = (T *)a->dx + at;
    V acc[FDL_TILE_MAX][2], y[FDL_TILE_MAX][2];
    if (begin == 0) tile_clear(rows, wide, acc);
    else tile_load(rows, wide, dx, FDL_PANEL, acc);
    word_tile(t->native, rows, wide, (end - begin + 1) / 2, t->rows, ld, 1,
              (const U *)a->pairs + (p * pairs + begin / 2) * FDL_PANEL + lane, FDL_PANEL, acc);
    if (a->relu && end == a->outputs) { /* x is the output y of a ReLU: multiply with that one's slope too */
        tile_load(rows, wide, (const T *)a->relu + at, FDL_PANEL, y);
#pragma GCC unroll 12
        for (int r = 0; r < rows; r++)
            for (int j = 0; j < wide; j++) acc[r][j] = keep(y[r][j] > 0, acc[r][j]);
    }
    tile_store(rows, wide, acc, dx, FDL_PANEL);
}

INLINE void input_word_rows(void *context, int rows, size_t i) {
    const word_grads *t = context;
    const size_t n = t->a->outputs;
    for (size_t begin = 0, end; begin < n; begin = end) {
        end = n - begin < FDL_WORD_OUTPUTS ? n : begin + FDL_WORD_OUTPUTS;
        /* rows at distances that map them to different sets of the cache */
        const size_t ld = (end - begin + FDL_STRIP - 1) / FDL_STRIP * (FDL_STRIP / 2) + FDL_UNIT;
        pack_outputs(t->native, rows, t->a->inputs, t->a->w, i, begin, end, t->rows, ld);
        for (size_t p = t->range.p0; p < t->range.p1; p++) {
            size_t vectors = vectors_for(samples_of(t->step, p)), v = 0;
            for (; v + 2 <= vectors; v += 2) input_word_tile(t, rows, 2, p, i, v * VL, begin, end, ld);
            if (v < vectors) input_word_tile(t, rows, 1, p, i, v * VL, begin, end, ld);
        }
    }
}

/* dense_input_grad by words. */
INLINE void input_grad_words(int native, const dense_input_grad_args *a, fdl_range range, const fdl_step *step,
                             void *scratch) {
    word_grads grads = {native, a, range, step, scratch};
    for_tiles(input_word_rows, &grads, range.f0, range.f1);
}

/* One panel's features [f0, f1), of which f0 is even, in words. */
INLINE void round_panel(int native, const T *x, size_t n, size_t f0, size_t f1, size_t samples, U *pairs, U *rows) {
    for (size_t f = f0; f < f1; f += 2)
        for (size_t lane = 0; lane < FDL_PANEL && pairs; lane += VL) {
            V high = {0};
            if (f + 1 < n) high = load(x + (f + 1) * FDL_PANEL + lane);
            store_words(pairs + f / 2 * FDL_PANEL + lane, pair_words(native, load(x + f * FDL_PANEL + lane), high));
        }
    for (size_t f = f0; f < f1; f++)
        for (size_t lane = 0; lane < FDL_PANEL && rows; lane += 2 * VL) {
            V first = keep(lanes_below(lane, samples), load(x + f * FDL_PANEL + lane));
            V second = keep(lanes_below(lane + VL, samples), load(x + f * FDL_PANEL + lane + VL));
            store_words(rows + f * (FDL_PANEL / 2) + lane / 2, row_words(native, first, second));
        }
}

INLINE void round_range(int native, const round_panels_args *a, fdl_range range, const fdl_step *step) {
    const size_t n = a->features;
    for (size_t p = range.p0; p < range.p1; p++)
        round_panel(native, (const T *)a->x + p * n * FDL_PANEL, n, range.f0, range.f1, samples_of(step, p),
                    a->pairs ? (U *)a->pairs + p * ((n + 1) / 2) * FDL_PANEL : NULL,
                    a->rows ? (U *)a->rows + p * n * (FDL_PANEL / 2) : NULL);
}

/* Each kernel for both kinds of products; not inlined, so that each has the registers to itself. Rounding in the place of
 * instructions is for the same bits, not for speed: it is made small. */
#define FDL_WORDS_OF(kind, native, how)                                                                                  \
    static __attribute__((noinline)) how void forward_##kind(const dense_forward_args *a, fdl_range range,               \
                                                             const fdl_step *step, void *scratch) {                      \
        forward_words(native, a, range, step, scratch);                                                                  \
    }                                                                                                                    \
    static __attribute__((noinline)) how void input_grad_##kind(const dense_input_grad_args *a, fdl_range range,         \
                                                                const fdl_step *step, void *scratch) {                   \
        input_grad_words(native, a, range, step, scratch);                                                               \
    }                                                                                                                    \
    static __attribute__((noinline)) how void round_by_##kind(const round_panels_args *a, fdl_range range,               \
                                                              const fdl_step *step) {                                    \
        round_range(native, a, range, step);                                                                             \
    }
FDL_WORDS_OF(rounded, 0, __attribute__((cold)))
FDL_WORDS_OF(native, 1, )
#undef FDL_WORDS_OF

static void round_panels(const void *args, fdl_range range, const fdl_step *step, void *scratch) {
    const round_panels_args *a = args;
    (void)scratch;
    if (natively(a->products)) round_by_native(a, range, step);
    else round_by_rounded(a, range, step);
}
#else
#define round_panels NULL /* words are of float32 */
#endif

#endif

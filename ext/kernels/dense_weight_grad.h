/* The gradient of a dense layer's weights, dW = x^T dy, and of its bias, on panels. */
#ifndef FDL_KERNELS_DENSE_WEIGHT_GRAD_H
#define FDL_KERNELS_DENSE_WEIGHT_GRAD_H

#include "../kernels.h"
#include "../shared/panels.h"
#include "../shared/tile.h"
#include "../shared/vec.h"
#include "weight_tile.h"

/* dW over many samples and few inputs (by_dots): vectors go along the samples, so that nothing is transposed. A tile of
 * DOT_K inputs by DOT_N outputs has VL sums, which sum_rows finishes all at once. */
#if FDL_VBYTES == 64 && FDL_IS_F32
enum { DOT_K = 4, DOT_N = 4 };
#elif FDL_VBYTES == 64 || (FDL_VBYTES == 32 && FDL_IS_F32)
enum { DOT_K = 4, DOT_N = 2 };
#elif FDL_VBYTES == 32 || FDL_IS_F32
enum { DOT_K = 2, DOT_N = 2 };
#else
enum { DOT_K = 2, DOT_N = 1 };
#endif
#define FDL_DOT_SAMPLES 512 /* below, finishing the sums costs more than transposing */

INLINE int by_dots(size_t k, size_t samples) { return samples >= FDL_DOT_SAMPLES && k * 8 <= samples; }

INLINE void dot_tile(const T *const a[DOT_K], const T *const b[DOT_N], size_t lane, VI in_batch, V acc[VL]) {
    V u[DOT_K], v[DOT_N];
#pragma GCC unroll 4
    for (size_t r = 0; r < DOT_K; r++) u[r] = load(a[r] + lane);
#pragma GCC unroll 4
    for (size_t c = 0; c < DOT_N; c++) v[c] = keep(in_batch, load(b[c] + lane));
#pragma GCC unroll 4
    for (size_t r = 0; r < DOT_K; r++)
#pragma GCC unroll 4
        for (size_t c = 0; c < DOT_N; c++) acc[r * DOT_N + c] += u[r] * v[c];
}

/* One tile of weight_dots: inputs [i, i + DOT_K), outputs [f, f + DOT_N), of which `rows` and `columns` exist. The last row
 * and column stand for those that do not; their sums are not stored. */
INLINE void sum_dots(size_t k, size_t n, const T *x, const T *dy, fdl_range range, const fdl_step *step, size_t i,
                     size_t rows, size_t f, size_t columns, V acc[VL]) {
    for (size_t p = range.p0; p < range.p1; p++) {
        const T *a[DOT_K], *b[DOT_N];
        size_t samples = samples_of(step, p), lane = 0;
        for (size_t r = 0; r < DOT_K; r++) a[r] = x + (p * k + i + (r < rows ? r : rows - 1)) * FDL_PANEL;
        for (size_t c = 0; c < DOT_N; c++) b[c] = dy + (p * n + f + (c < columns ? c : columns - 1)) * FDL_PANEL;
        if (samples == FDL_PANEL)
#pragma GCC unroll 2
            for (; lane < FDL_PANEL; lane += VL) dot_tile(a, b, lane, ~(VI){0}, acc);
        else
            for (; lane < samples; lane += VL) dot_tile(a, b, lane, lanes_below(lane, samples), acc);
    }
}

static void weight_dots(size_t k, size_t n, const T *x, const T *dy, fdl_range range, const fdl_step *step, T *dw) {
    for (size_t f = range.f0; f < range.f1; f += DOT_N)
        for (size_t i = 0; i < k; i += DOT_K) {
            size_t rows = k - i < DOT_K ? k - i : DOT_K, columns = range.f1 - f < DOT_N ? range.f1 - f : DOT_N;
            V acc[VL] = {{0}};
            sum_dots(k, n, x, dy, range, step, i, rows, f, columns, acc);
            T sums[VL];
            storeu(sums, sum_rows(acc));
            for (size_t r = 0; r < rows; r++)
                for (size_t c = 0; c < columns; c++)
                    dw[column(k, f + c) + (i + r) * FDL_STRIP] = sums[r * DOT_N + c];
        }
}

static void bias_sums(size_t n, const T *dy, fdl_range range, const fdl_step *step, T *db) {
    for (size_t f = range.f0; f < range.f1; f += VL) {
        size_t columns = range.f1 - f < VL ? range.f1 - f : VL;
        V acc[VL] = {{0}};
        for (size_t p = range.p0; p < range.p1; p++)
            for (size_t lane = 0, samples = samples_of(step, p); lane < samples; lane += VL)
                for (size_t c = 0; c < columns; c++)
                    acc[c] += keep(lanes_below(lane, samples), load(dy + (p * n + f + c) * FDL_PANEL + lane));
        store(db + f, sum_rows(acc));
    }
}

/* One chunk of samples [s0, s1) of a weight gradient; `first` where nothing is summed yet. */
typedef struct {
    const T *x, *dy;
    T *dw, *db, *strip;
    size_t k, n, s0, s1;
    int first;
} weight_chunk;

/* A strip of such a chunk: outputs [f, f + wide VL). */
typedef struct {
    const weight_chunk *chunk;
    int products, wide;
    size_t f;
} weight_strip;

INLINE void weight_grad_rows(void *context, int rows, size_t i) {
    const weight_strip *s = context;
    const weight_chunk *c = s->chunk;
    V acc[FDL_TILE_MAX][2];
    T *to = c->dw + column(c->k, s->f) + i * FDL_STRIP;
    if (c->first) tile_clear(rows, s->wide, acc);
    else tile_load(rows, s->wide, to, FDL_STRIP, acc);
    weight_grad_tile(s->products, rows, s->wide, c->k, c->x + i * lane_width(s->products), c->s0, c->s1, c->strip, acc);
    tile_store(rows, s->wide, acc, to, FDL_STRIP);
}

INLINE void weight_grad_strip(int products, const weight_chunk *c, int wide, size_t f) {
    weight_strip strip = {c, products, wide, f};
    const T *from = c->first ? NULL : c->db + f;
    turn_strip(products, wide, c->dy, c->n, f, c->s0, c->s1, c->strip);
    for_tiles(weight_grad_rows, &strip, 0, c->k);
    if (c->db && products == FDL_FLOATS) sum_strip(wide, c->strip, c->s1 - c->s0, from, c->db + f);
    else if (c->db) sum_features(wide, c->dy, c->n, f, c->s0, c->s1, from, c->db + f);
}
INLINE void grad_of_floats(void *context, int wide, size_t f) { weight_grad_strip(FDL_FLOATS, context, wide, f); }
#if FDL_IS_F32
INLINE void grad_of_rounded(void *context, int wide, size_t f) { weight_grad_strip(FDL_ROUNDED, context, wide, f); }
INLINE void grad_of_native(void *context, int wide, size_t f) { weight_grad_strip(FDL_NATIVE, context, wide, f); }
#endif

/* The gradients over one chunk, by products of a kind; not inlined, so that each kind has the registers to itself. */
#define FDL_CHUNK_OF(products, how)                                                                              \
    static __attribute__((noinline)) how void chunk_of_##products(weight_chunk *chunk, size_t f0, size_t f1) {   \
        for_strips(grad_of_##products, chunk, f0, f1);                                                           \
    }
FDL_CHUNK_OF(floats, )
#if FDL_IS_F32
FDL_CHUNK_OF(rounded, __attribute__((cold)))
FDL_CHUNK_OF(native, )
#endif
#undef FDL_CHUNK_OF

/* dW = x^T dy, db = sum of dy, over the range's panels. Samples go in chunks whose transposed dy stays in the
 * first-level cache. Where samples have members, those of the batch's last panel, if it is not full, are chunks of their
 * own: `full` samples of the range's numbering come before. */
static void dense_weight_grad(const void *args, fdl_range range, const fdl_step *step, void *scratch) {
    const dense_weight_grad_args *a = args;
    const T *x = a->x, *dy = a->dy;
    T *dw = (T *)a->dw + range.part * a->dw_stride, *db = a->db;
    size_t k = a->inputs, n = a->outputs, begin = range.p0 * FDL_PANEL, end = range.p1 * FDL_PANEL;
    size_t full = step->batch / FDL_PANEL * step->members * FDL_PANEL, rest = step->batch % FDL_PANEL;
    if (step->members == 1) {
        full = step->batch;
        if (end > full) end = full;
    }
    if (db) db += range.part * a->db_stride;
    if (a->products == FDL_FLOATS && by_dots(k, end - begin)) {
        weight_dots(k, n, x, dy, range, step, dw);
        if (db) bias_sums(n, dy, range, step, db);
        return;
    }
    for (size_t s0 = begin, s1, next; s0 < end; s0 = next) {
        next = end - s0 < FDL_CHUNK ? end : s0 + FDL_CHUNK;
        if (s0 < full && next > full) next = full;
        if (s0 >= full) next = s0 + FDL_PANEL;
        s1 = s0 < full ? next : s0 + rest;
        weight_chunk chunk = {x, dy, dw, db, scratch, k, n, s0, s1, s0 == begin};
#if FDL_IS_F32
        if (natively(a->products)) chunk_of_native(&chunk, range.f0, range.f1);
        else if (a->products != FDL_FLOATS) chunk_of_rounded(&chunk, range.f0, range.f1);
#endif
        if (a->products == FDL_FLOATS) chunk_of_floats(&chunk, range.f0, range.f1);
    }
}

/* out = the sum over parts, in order. Elements [f0, f1). */
static void sum_partials(const void *args, fdl_range range, const fdl_step *step, void *scratch) {
    const sum_partials_args *a = args;
    const T *partials = a->partials;
    T *out = a->out;
    (void)step, (void)scratch;
    for (size_t i = range.f0; i < range.f1; i += VL) {
        V sum = load(partials + i);
        for (size_t part = 1; part < a->parts; part++) sum += load(partials + part * a->size + i);
        store(out + i, sum);
    }
}

#endif

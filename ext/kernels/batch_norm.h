/* Batch normalization (Ioffe and Szegedy 2015) with Keras's conventions: biased variance, in the moving average too.
 *
 * VL features at a time (see shared/blocks.h), so that means, roots and moving averages are vector operations too. The
 * variance takes two passes: the values are in the cache, and a single pass loses digits by cancellation.
 */
#ifndef FDL_KERNELS_BATCH_NORM_H
#define FDL_KERNELS_BATCH_NORM_H

#include "../kernels.h"
#include "../shared/blocks.h"
#include "../shared/panels.h"
#include "../shared/vec.h"

/* How many features go through one pass before the next pass begins. Several blocks overlap where one alone would wait for
 * sums, roots and divisions; no more are taken than stay in the first-level cache. */
INLINE size_t blocks_at_once(size_t batch) { return batch <= 2 * FDL_PANEL ? 4 * VL : VL; }

INLINE void mean_of_block(const void *args, size_t f, size_t m, size_t batch) {
    const batch_norm_train_args *a = args;
    store((T *)a->mean + f, sum_block(a->features, f, m, batch, value_term, a->x) / (T)batch);
}

/* (x - mean)^2; mean: of the block's features. */
typedef struct {
    const T *x, *mean;
} square_of;
INLINE V square_term(const void *of, block_vector at) {
    const square_of *s = of;
    V d = keep(at.in_batch, load(s->x + at.offset) - s->mean[at.feature]);
    return d * d;
}

INLINE void variance_of_block(const void *args, size_t f, size_t m, size_t batch) {
    const batch_norm_train_args *a = args;
    const T *mean = a->mean;
    T *moving_mean = a->moving_mean, *moving_variance = a->moving_variance, *inv = a->inv;
    T momentum = (T)a->momentum, epsilon = (T)a->epsilon;
    const square_of square = {a->x, mean + f};
    V variance = sum_block(a->features, f, m, batch, square_term, &square) / (T)batch;
    store(inv + f, 1 / square_root(variance + epsilon));
    if (!moving_mean) return;
    store(moving_mean + f, load(moving_mean + f) * momentum + load(mean + f) * (1 - momentum));
    store(moving_variance + f, load(moving_variance + f) * momentum + variance * (1 - momentum));
}

INLINE void normalize_block(const void *args, size_t f, size_t m, size_t batch) {
    const batch_norm_train_args *a = args;
    const T *x = a->x, *gamma = a->gamma, *beta = a->beta, *mean = a->mean, *inv = a->inv;
    T *y = a->y, scale[VL], shift[VL];
    size_t n = a->features;
    int relu = a->act == FDL_RELU;
    V factor = load(inv + f), offset = {0};
    if (gamma) factor *= load(gamma + f);
    if (beta) offset = load(beta + f);
    storeu(scale, factor);
    storeu(shift, offset);
    for (size_t p = 0; p * FDL_PANEL < batch; p++)
        for (size_t j = 0; j < m; j++) {
            size_t at = (p * n + f + j) * FDL_PANEL, end = at + vectors_for(samples_in(batch, p)) * VL;
            V centre = splat(mean[f + j]), by = splat(scale[j]), to = splat(shift[j]);
            for (size_t i = at; i < end; i += VL) {
                V v = (load(x + i) - centre) * by + to;
                store(y + i, relu ? keep(~(v < 0), v) : v);
            }
        }
}

/* y = act((x - mean) inv gamma + beta), and moving = momentum moving + (1 - momentum) statistic */
static void batch_norm_train(const void *args, fdl_range range, const fdl_step *step, void *scratch) {
    const size_t batch = step->batch;
    (void)scratch;
    for (size_t f = range.f0, end; f < range.f1; f = end) {
        end = f + blocks_at_once(batch) < range.f1 ? f + blocks_at_once(batch) : range.f1;
        for_blocks(mean_of_block, args, f, end, batch);
        for_blocks(variance_of_block, args, f, end, batch);
        for_blocks(normalize_block, args, f, end, batch);
    }
}

/* y = act((x - moving mean) gamma / sqrt(moving variance + epsilon) + beta) */
static void batch_norm_infer(const void *args, fdl_range range, const fdl_step *step, void *scratch) {
    const batch_norm_infer_args *a = args;
    const T *x = a->x, *gamma = a->gamma, *beta = a->beta, *mean = a->moving_mean, *variance = a->moving_variance;
    T *y = a->y;
    size_t n = a->features;
    int relu = a->act == FDL_RELU;
    T epsilon = (T)a->epsilon;
    (void)step, (void)scratch;
    for (size_t p = range.p0; p < range.p1; p++)
        for (size_t f = range.f0; f < range.f1; f++) {
            T scale = (gamma ? gamma[f] : 1) / FDL_SQRT(variance[f] + epsilon), shift = beta ? beta[f] : 0;
            size_t at = (p * n + f) * FDL_PANEL;
            for (size_t i = at; i < at + FDL_PANEL; i += VL) {
                V v = (load(x + i) - mean[f]) * scale + shift;
                store(y + i, relu ? keep(~(v < 0), v) : v);
            }
        }
}

/* scale = gamma / sqrt(moving variance + epsilon) */
static void batch_norm_scale(const void *args, fdl_range range, const fdl_step *step, void *scratch) {
    const batch_norm_scale_args *a = args;
    const T *gamma = a->gamma, *variance = a->moving_variance;
    T *scale = a->scale, epsilon = (T)a->epsilon;
    (void)step, (void)scratch;
    for (size_t f = range.f0; f < range.f1; f += VL) {
        V root = square_root(load(variance + f) + epsilon);
        store(scale + f, gamma ? load(gamma + f) / root : 1 / root);
    }
}

/* The gradient that arrives, and what it is summed with: y, if not NULL, is the output of the ReLU behind, and dy counts
 * where it is positive; mean: of the block's features. */
typedef struct {
    const T *x, *dy, *y, *mean;
} gradient_of;
INLINE V gradient_at(const gradient_of *g, size_t i) {
    return g->y ? keep(load(g->y + i) > 0, load(g->dy + i)) : load(g->dy + i);
}
INLINE V gradient_term(const void *of, block_vector at) { return keep(at.in_batch, gradient_at(of, at.offset)); }
INLINE V product_term(const void *of, block_vector at) {
    const gradient_of *g = of;
    return keep(at.in_batch, gradient_at(g, at.offset) * (load(g->x + at.offset) - g->mean[at.feature]));
}

/* One block of batch_norm_backward: features [f, f + m). */
INLINE void gradient_block(const void *args, size_t f, size_t m, size_t batch) {
    const batch_norm_backward_args *a = args;
    const gradient_of g = {a->x, a->dy, a->relu, (const T *)a->mean + f};
    const T *gamma = a->gamma, *inv = a->inv;
    T *dx = a->dx, *dgamma = a->dgamma, *dbeta = a->dbeta;
    size_t n = a->features;
    T count = (T)batch, slope[VL], of_x[VL], of_one[VL];
    block_sums sum = {{{0}}}, dot = {{{0}}};
    add_block(&sum, n, f, m, batch, gradient_term, &g);
    add_block(&dot, n, f, m, batch, product_term, &g);
    V s = load(inv + f), total = sum_rows(sum.feature), product = sum_rows(dot.feature) * s, factor = s;
    if (gamma) factor *= load(gamma + f);
    if (dgamma) store(dgamma + f, product);
    if (dbeta) store(dbeta + f, total);
    if (!dx) return;
    storeu(slope, factor);
    storeu(of_x, product / count * s);
    storeu(of_one, total / count);
    for (size_t p = 0; p * FDL_PANEL < batch; p++)
        for (size_t j = 0; j < m; j++) {
            size_t at = (p * n + f + j) * FDL_PANEL, end = at + vectors_for(samples_in(batch, p)) * VL;
            V centre = splat(g.mean[j]), one = splat(of_one[j]), by = splat(of_x[j]), to = splat(slope[j]);
            for (size_t i = at; i < end; i += VL)
                store(dx + i, (gradient_at(&g, i) - one - (load(g.x + i) - centre) * by) * to);
        }
}

/* dbeta = sum dy, dgamma = sum dy xhat, dx = gamma inv (dy - dbeta / B - xhat dgamma / B) */
static void batch_norm_backward(const void *args, fdl_range range, const fdl_step *step, void *scratch) {
    (void)scratch;
    for_blocks(gradient_block, args, range.f0, range.f1, step->batch);
}

/* dx = dy gamma / sqrt(moving variance + epsilon): a frozen layer only scales. y: see gradient_of. */
static void batch_norm_infer_backward(const void *args, fdl_range range, const fdl_step *step, void *scratch) {
    const batch_norm_infer_backward_args *a = args;
    const T *dy = a->dy, *gamma = a->gamma, *variance = a->moving_variance, *y = a->relu;
    T *dx = a->dx;
    size_t n = a->features;
    T epsilon = (T)a->epsilon;
    (void)step, (void)scratch;
    for (size_t p = range.p0; p < range.p1; p++)
        for (size_t f = range.f0; f < range.f1; f++) {
            T scale = (gamma ? gamma[f] : 1) / FDL_SQRT(variance[f] + epsilon);
            size_t at = (p * n + f) * FDL_PANEL;
            for (size_t i = at; i < at + FDL_PANEL; i += VL) {
                V g = load(dy + i) * scale;
                store(dx + i, y ? keep(load(y + i) > 0, g) : g);
            }
        }
}

/* average = momentum average + (1 - momentum) value, of a value that all samples share; and its square less epsilon. */
static void move_average(const void *args, fdl_range range, const fdl_step *step, void *scratch) {
    const move_average_args *a = args;
    const T *value = a->value, momentum = (T)a->momentum, epsilon = (T)a->epsilon;
    T *average = a->average, *square = a->square;
    (void)step, (void)scratch;
    for (size_t f = range.f0; f < range.f1; f++) {
        average[f] = momentum * average[f] + (1 - momentum) * value[f * FDL_PANEL];
        if (square) square[f] = average[f] * average[f] - epsilon;
    }
}

#endif

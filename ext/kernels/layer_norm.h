/* Layer normalization (Ba, Kiros and Hinton 2016): each sample over its own features, with the biased variance. */
#ifndef FDL_KERNELS_LAYER_NORM_H
#define FDL_KERNELS_LAYER_NORM_H

#include "../kernels.h"
#include "../shared/blocks.h"
#include "../shared/panels.h"
#include "../shared/vec.h"

/* xhat = (x - mean) inv, y = xhat gamma + beta; mean and inv are written for the gradient unless they are NULL.
 * The mean of many numbers far from 0 is rounded: `rest`, the mean of what is left of x, is subtracted too. */
static void layer_norm_forward(const void *args, fdl_range range, const fdl_step *step, void *scratch) {
    const layer_norm_forward_args *a = args;
    const T *x = a->x, *gamma = a->gamma, *beta = a->beta;
    T *y = a->y, *mean_out = a->mean, *inv_out = a->inv;
    size_t n = a->features;
    T epsilon = (T)a->epsilon, count = (T)n;
    (void)scratch;
    for (size_t p = range.p0; p < range.p1; p++)
        for (lanes at = first_lanes(step, p); at.lane < at.samples; at.lane += VL) {
            const size_t first = in_features(at, n);
            V sum = {0}, rest = {0}, square = {0};
            for (size_t f = 0; f < n; f++) sum += load(x + first + f * FDL_PANEL);
            V mean = sum / count;
            for (size_t f = 0; f < n; f++) {
                V d = load(x + first + f * FDL_PANEL) - mean;
                rest += d;
                square += d * d;
            }
            rest /= count;
            V inv = 1 / square_root(square / count - rest * rest + epsilon);
            for (size_t f = 0; f < n; f++)
                store(y + first + f * FDL_PANEL,
                      (load(x + first + f * FDL_PANEL) - mean - rest) * (inv * (gamma ? gamma[f] : 1)) +
                          (beta ? beta[f] : 0));
            if (mean_out) {
                store(mean_out + in_samples(at), mean);
                store(inv_out + in_samples(at), inv);
            }
        }
}

/* dx = inv (g - mean of g - xhat mean of g xhat), g = dy gamma */
static void layer_norm_backward(const void *args, fdl_range range, const fdl_step *step, void *scratch) {
    const layer_norm_backward_args *a = args;
    const T *x = a->x, *dy = a->dy, *gamma = a->gamma, *means = a->mean, *invs = a->inv;
    T *dx = a->dx;
    size_t n = a->features;
    T count = (T)n;
    (void)scratch;
    for (size_t p = range.p0; p < range.p1; p++)
        for (lanes at = first_lanes(step, p); at.lane < at.samples; at.lane += VL) {
            const size_t first = in_features(at, n);
            V mean = load(means + in_samples(at)), inv = load(invs + in_samples(at)), sum = {0}, dot = {0};
            for (size_t f = 0; f < n; f++) {
                V g = load(dy + first + f * FDL_PANEL) * (gamma ? gamma[f] : 1);
                sum += g;
                dot += g * (load(x + first + f * FDL_PANEL) - mean);
            }
            V of_one = sum / count, of_x = dot / count * inv * inv;
            for (size_t f = 0; f < n; f++) {
                V g = load(dy + first + f * FDL_PANEL) * (gamma ? gamma[f] : 1);
                store(dx + first + f * FDL_PANEL, (g - of_one - (load(x + first + f * FDL_PANEL) - mean) * of_x) * inv);
            }
        }
}

/* The term of dgamma: dy xhat. */
typedef struct {
    const T *x, *dy, *mean, *inv;
} xhat_of;
INLINE V xhat_term(const void *of, block_vector at) {
    const xhat_of *g = of;
    V xhat = (load(g->x + at.offset) - load(g->mean + at.sample)) * load(g->inv + at.sample);
    return keep(at.in_batch, load(g->dy + at.offset) * xhat);
}

/* One block of layer_norm_weight_grad: features [f, f + m). */
INLINE void layer_norm_block(const void *args, size_t f, size_t m, size_t batch) {
    const layer_norm_weight_grad_args *a = args;
    T *dgamma = a->dgamma, *dbeta = a->dbeta;
    size_t n = a->features;
    const xhat_of g = {a->x, a->dy, a->mean, a->inv};
    if (dgamma) store(dgamma + f, sum_block(n, f, m, batch, xhat_term, &g));
    if (dbeta) store(dbeta + f, sum_block(n, f, m, batch, value_term, a->dy));
}

/* dgamma = sum dy xhat, dbeta = sum dy, over the samples */
static void layer_norm_weight_grad(const void *args, fdl_range range, const fdl_step *step, void *scratch) {
    (void)scratch;
    for_blocks(layer_norm_block, args, range.f0, range.f1, step->batch);
}

#endif

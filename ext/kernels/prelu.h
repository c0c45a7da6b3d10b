/* PReLU (He et al. 2015): the slope below zero is trained, one a feature. */
#ifndef FDL_KERNELS_PRELU_H
#define FDL_KERNELS_PRELU_H

#include "../kernels.h"
#include "../shared/blocks.h"
#include "../shared/panels.h"
#include "../shared/vec.h"

/* y = x, below 0 alpha x */
static void prelu_forward(const void *args, fdl_range range, const fdl_step *step, void *scratch) {
    const prelu_forward_args *a = args;
    const T *x = a->x, *alpha = a->alpha;
    T *y = a->y;
    size_t n = a->features;
    (void)step, (void)scratch;
    for (size_t p = range.p0; p < range.p1; p++)
        for (size_t f = range.f0; f < range.f1; f++) {
            size_t at = (p * n + f) * FDL_PANEL;
            for (size_t i = at; i < at + FDL_PANEL; i += VL) {
                V v = load(x + i);
                store(y + i, choose(v < 0, v * alpha[f], v));
            }
        }
}

/* The term of dalpha: x dy where x is below 0. */
INLINE V negative_term(const void *args, block_vector at) {
    const prelu_backward_args *a = args;
    V x = load((const T *)a->x + at.offset), dy = load((const T *)a->dy + at.offset);
    return keep(at.in_batch & (x < 0), x * dy);
}

/* One block of prelu_backward: features [f, f + m). */
INLINE void prelu_block(const void *args, size_t f, size_t m, size_t batch) {
    const prelu_backward_args *a = args;
    const T *x = a->x, *dy = a->dy, *alpha = a->alpha;
    T *dx = a->dx, *dalpha = a->dalpha;
    size_t n = a->features;
    if (dalpha) store(dalpha + f, sum_block(n, f, m, batch, negative_term, a));
    for (size_t p = 0; dx && p * FDL_PANEL < batch; p++)
        for (size_t j = 0; j < m; j++) {
            size_t at = (p * n + f + j) * FDL_PANEL, end = at + vectors_for(samples_in(batch, p)) * VL;
            V slope = splat(alpha[f + j]);
            for (size_t i = at; i < end; i += VL)
                store(dx + i, choose(load(x + i) > 0, load(dy + i), load(dy + i) * slope));
        }
}

/* dx = dy, below 0 alpha dy; dalpha = the sum of x dy over the samples below 0 */
static void prelu_backward(const void *args, fdl_range range, const fdl_step *step, void *scratch) {
    (void)scratch;
    for_blocks(prelu_block, args, range.f0, range.f1, step->batch);
}

#endif

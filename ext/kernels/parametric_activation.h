/* (1 - alpha) x + alpha act(x), one trained alpha a feature: between the identity and an activation. */
#ifndef FDL_KERNELS_PARAMETRIC_ACTIVATION_H
#define FDL_KERNELS_PARAMETRIC_ACTIVATION_H

#include "../kernels.h"
#include "../shared/blocks.h"
#include "../shared/panels.h"
#include "../shared/vec.h"
#include "activations.h"

/* to = (1 - alpha) first + alpha second, for features [f0, f1) of n in panel p */
INLINE void mix_by_alpha(const T *alpha, size_t n, size_t p, size_t f0, size_t f1, const T *first, const T *second, T *to) {
    for (size_t f = f0; f < f1; f++) {
        const V share = splat(alpha[f]);
        for (size_t at = (p * n + f) * FDL_PANEL, i = at; i < at + FDL_PANEL; i += VL)
            store(to + i, (1 - share) * load(first + i) + share * load(second + i));
    }
}

/* y = (1 - alpha) x + alpha act(x) */
static void parametric_activation_forward(const void *args, fdl_range range, const fdl_step *step, void *scratch) {
    const parametric_activation_forward_args *a = args;
    const T *x = a->x, *alpha = a->alpha;
    T *y = a->y, *plain = a->plain ? a->plain : a->y;
    size_t n = a->features;
    (void)step, (void)scratch;
    for (size_t p = range.p0; p < range.p1; p++) {
        size_t at = (p * n + range.f0) * FDL_PANEL, count = (range.f1 - range.f0) * FDL_PANEL;
        activations[a->activation].forward(scalars_of(a->own), x + at, plain + at, count);
        mix_by_alpha(alpha, n, p, range.f0, range.f1, x, plain, y);
    }
}

/* The term of dalpha: (act(x) - x) dy. */
INLINE V alpha_term(const void *args, block_vector at) {
    const parametric_activation_backward_args *a = args;
    V x = load((const T *)a->x + at.offset), dy = load((const T *)a->dy + at.offset);
    return keep(at.in_batch, (load((const T *)a->plain + at.offset) - x) * dy);
}

INLINE void alpha_block(const void *args, size_t f, size_t m, size_t batch) {
    const parametric_activation_backward_args *a = args;
    store((T *)a->dalpha + f, sum_block(a->features, f, m, batch, alpha_term, a));
}

/* dx = ((1 - alpha) + alpha act'(x)) dy; dalpha = the sum of (act(x) - x) dy over the samples */
static void parametric_activation_backward(const void *args, fdl_range range, const fdl_step *step, void *scratch) {
    const parametric_activation_backward_args *a = args;
    const T *saved = a->saved, *dy = a->dy;
    T *dx = a->dx;
    size_t n = a->features;
    (void)scratch;
    if (a->dalpha) for_blocks(alpha_block, args, range.f0, range.f1, step->batch);
    for (size_t p = 0; dx && p * FDL_PANEL < step->batch; p++) {
        size_t at = (p * n + range.f0) * FDL_PANEL, count = (range.f1 - range.f0) * FDL_PANEL;
        activations[a->activation].backward(scalars_of(a->own), saved + at, dy + at, dx + at, count);
        mix_by_alpha(a->alpha, n, p, range.f0, range.f1, dy, dx, dx);
    }
}

#endif

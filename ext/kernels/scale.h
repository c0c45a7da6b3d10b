/* The gradient of y = x scale, one trained scale a feature; forward is the affine map's. */
#ifndef FDL_KERNELS_SCALE_H
#define FDL_KERNELS_SCALE_H

#include "../kernels.h"
#include "../shared/blocks.h"
#include "../shared/panels.h"
#include "../shared/vec.h"

INLINE V scale_term(const void *args, block_vector at) {
    const scale_backward_args *a = args;
    return keep(at.in_batch, load((const T *)a->x + at.offset) * load((const T *)a->dy + at.offset));
}

/* One block of scale_backward: features [f, f + m). */
INLINE void scale_block(const void *args, size_t f, size_t m, size_t batch) {
    const scale_backward_args *a = args;
    const T *dy = a->dy, *scale = a->scale;
    T *dx = a->dx, *dscale = a->dscale;
    size_t n = a->features;
    if (dscale) store(dscale + f, sum_block(n, f, m, batch, scale_term, a));
    for (size_t p = 0; dx && p * FDL_PANEL < batch; p++)
        for (size_t j = 0; j < m; j++)
            for (size_t at = (p * n + f + j) * FDL_PANEL, i = at; i < at + FDL_PANEL; i += VL)
                store(dx + i, load(dy + i) * scale[f + j]);
}

/* dx = dy scale; dscale = the sum of x dy over the samples */
static void scale_backward(const void *args, fdl_range range, const fdl_step *step, void *scratch) {
    (void)scratch;
    for_blocks(scale_block, args, range.f0, range.f1, step->batch);
}

#endif

/* Dropout. The backward pass reads the mask that the forward pass wrote. */
#ifndef FDL_KERNELS_DROPOUT_H
#define FDL_KERNELS_DROPOUT_H

#include "../kernels.h"
#include "../shared/random.h"
#include "../shared/vec.h"

/* y = x mask, mask = 1 / (1 - rate) with probability 1 - rate, else 0 (inverted dropout). */
static void dropout_forward(const void *args, fdl_range range, const fdl_step *step, void *scratch) {
    const dropout_forward_args *a = args;
    const T *x = a->x;
    T *y = a->y, *mask = a->mask;
    size_t n = a->features;
    const random_key key = key_of(step, a->stream);
    double rate = a->rate;
    uint32_t threshold = rate < 1 ? (uint32_t)(rate * 4294967296.0) : UINT32_MAX;
    T scale = rate < 1 ? (T)(1 / (1 - rate)) : 0;
    (void)scratch;
    for (size_t p = range.p0; p < range.p1; p++)
        for (size_t f = range.f0; f < range.f1; f++) {
            size_t at = (p * n + f) * FDL_PANEL;
            for (size_t i = 0; i < FDL_PANEL; i++) {
                T m = random_bits((uint32_t)(at + i), key) >= threshold ? scale : 0;
                mask[at + i] = m;
                y[at + i] = x[at + i] * m;
            }
        }
}

static void dropout_backward(const void *args, fdl_range range, const fdl_step *step, void *scratch) {
    const dropout_backward_args *a = args;
    const T *dy = a->dy, *mask = a->mask;
    T *dx = a->dx;
    size_t n = a->features;
    (void)step, (void)scratch;
    for (size_t p = range.p0; p < range.p1; p++)
        for (size_t i = (p * n + range.f0) * FDL_PANEL, end = (p * n + range.f1) * FDL_PANEL; i < end; i += VL)
            store(dx + i, load(dy + i) * load(mask + i));
}

#endif

/* Softmax and its logarithm, for each sample over its features. */
#ifndef FDL_KERNELS_SOFTMAX_H
#define FDL_KERNELS_SOFTMAX_H

#include "../kernels.h"
#include "../shared/features.h"
#include "../shared/panels.h"
#include "../shared/vec.h"
#include "../shared/vecmath.h"

/* y = exp(x - max) / sum */
static void softmax_forward(const void *args, fdl_range range, const fdl_step *step, void *scratch) {
    const softmax_forward_args *a = args;
    const T *x = a->x;
    T *y = a->y;
    size_t n = a->features;
    (void)scratch;
    for (size_t p = range.p0; p < range.p1; p++)
        for (lanes at = first_lanes(step, p); at.lane < at.samples; at.lane += VL) {
            const size_t first = in_features(at, n);
            V top = largest(x + first, n), sum = {0};
            for (size_t f = 0; f < n; f++) {
                V e = vexp(load(x + first + f * FDL_PANEL) - top);
                sum += e;
                store(y + first + f * FDL_PANEL, e);
            }
            for (size_t f = 0; f < n; f++) store(y + first + f * FDL_PANEL, load(y + first + f * FDL_PANEL) / sum);
        }
}

/* dx = y (dy - sum y dy) */
static void softmax_backward(const void *args, fdl_range range, const fdl_step *step, void *scratch) {
    const softmax_backward_args *a = args;
    const T *y = a->y, *dy = a->dy;
    T *dx = a->dx;
    size_t n = a->features;
    (void)scratch;
    for (size_t p = range.p0; p < range.p1; p++)
        for (lanes at = first_lanes(step, p); at.lane < at.samples; at.lane += VL) {
            const size_t first = in_features(at, n);
            V dot = {0};
            for (size_t f = 0; f < n; f++) dot += load(y + first + f * FDL_PANEL) * load(dy + first + f * FDL_PANEL);
            for (size_t f = 0; f < n; f++)
                store(dx + first + f * FDL_PANEL,
                      load(y + first + f * FDL_PANEL) * (load(dy + first + f * FDL_PANEL) - dot));
        }
}

/* y = x - max - log of the sum of exp(x - max) */
static void log_softmax_forward(const void *args, fdl_range range, const fdl_step *step, void *scratch) {
    const log_softmax_forward_args *a = args;
    const T *x = a->x;
    T *y = a->y;
    size_t n = a->features;
    (void)scratch;
    for (size_t p = range.p0; p < range.p1; p++)
        for (lanes at = first_lanes(step, p); at.lane < at.samples; at.lane += VL) {
            const size_t first = in_features(at, n);
            V top = largest(x + first, n), sum = {0};
            for (size_t f = 0; f < n; f++) sum += vexp(load(x + first + f * FDL_PANEL) - top);
            V level = vlog(sum);
            for (size_t f = 0; f < n; f++) store(y + first + f * FDL_PANEL, load(x + first + f * FDL_PANEL) - top - level);
        }
}

/* dx = dy - exp(y) sum dy */
static void log_softmax_backward(const void *args, fdl_range range, const fdl_step *step, void *scratch) {
    const log_softmax_backward_args *a = args;
    const T *y = a->y, *dy = a->dy;
    T *dx = a->dx;
    size_t n = a->features;
    (void)scratch;
    for (size_t p = range.p0; p < range.p1; p++)
        for (lanes at = first_lanes(step, p); at.lane < at.samples; at.lane += VL) {
            const size_t first = in_features(at, n);
            V sum = {0};
            for (size_t f = 0; f < n; f++) sum += load(dy + first + f * FDL_PANEL);
            for (size_t f = 0; f < n; f++)
                store(dx + first + f * FDL_PANEL,
                      load(dy + first + f * FDL_PANEL) - vexp(load(y + first + f * FDL_PANEL)) * sum);
        }
}

#endif

/* Piecewise linear encodings (Gorishniy et al. 2022): a number as how far it is through each of its pieces. */
#ifndef FDL_KERNELS_PIECEWISE_LINEAR_H
#define FDL_KERNELS_PIECEWISE_LINEAR_H

#include "../kernels.h"
#include "../shared/vec.h"

/* y = clamp((x - lower) scale, least, most) */
static void piecewise_linear_forward(const void *args, fdl_range range, const fdl_step *step, void *scratch) {
    const piecewise_linear_forward_args *a = args;
    const T *x = a->x, *lower = a->lower, *scale = a->scale, *least = a->least, *most = a->most;
    const double *first = a->first;
    T *y = a->y;
    (void)step, (void)scratch;
    for (size_t p = range.p0; p < range.p1; p++)
        for (size_t f = range.f0, number = 0; f < range.f1; f++) {
            while (first[number + 1] <= (double)f) number++;
            const T *from = x + (p * a->inputs + number) * FDL_PANEL;
            T *to = y + (p * a->features + f) * FDL_PANEL;
            for (size_t i = 0; i < FDL_PANEL; i += VL)
                store(to + i, clamp((load(from + i) - lower[f]) * scale[f], least[f], most[f]));
        }
}

/* dx = the sum over the number's pieces of scale dy, where the piece is not at its end */
static void piecewise_linear_backward(const void *args, fdl_range range, const fdl_step *step, void *scratch) {
    const piecewise_linear_backward_args *a = args;
    const T *x = a->x, *dy = a->dy, *lower = a->lower, *scale = a->scale, *least = a->least, *most = a->most;
    const double *first = a->first;
    T *dx = a->dx;
    (void)step, (void)scratch;
    for (size_t p = range.p0; p < range.p1; p++)
        for (size_t n = range.f0; n < range.f1; n++)
            for (size_t i = 0; i < FDL_PANEL; i += VL) {
                V number = load(x + (p * a->inputs + n) * FDL_PANEL + i), sum = {0};
                for (size_t f = (size_t)first[n], end = (size_t)first[n + 1]; f < end; f++) {
                    V at = (number - lower[f]) * scale[f], slope = load(dy + (p * a->features + f) * FDL_PANEL + i);
                    sum += keep((at > least[f]) & (at < most[f]), slope * scale[f]);
                }
                store(dx + (p * a->inputs + n) * FDL_PANEL + i, sum);
            }
}

#endif

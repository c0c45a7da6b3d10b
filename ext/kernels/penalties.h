/* Penalties on weights and activities. Each part is summed in double and in an order that does not depend on other parts, so
 * results do not depend on which thread computes what. */
#ifndef FDL_KERNELS_PENALTIES_H
#define FDL_KERNELS_PENALTIES_H

#include "../kernels.h"
#include "../shared/panels.h"
#include "../shared/penalty.h"
#include "../shared/vec.h"

/* part = the penalty of each unit of columns */
static void weight_penalty(const void *args, fdl_range range, const fdl_step *step, void *scratch) {
    const weight_penalty_args *a = args;
    const T *w = a->w;
    double *part = a->part;
    size_t k = a->inputs, n = a->outputs;
    (void)step, (void)scratch;
    for (size_t f = range.f0; f < range.f1; f += FDL_UNIT) {
        const T *from = w + column(k, f);
        double sum[FDL_UNIT] = {0};
        for (size_t row = 0; row < k; row++)
            for (size_t i = 0; i < FDL_UNIT; i++) {
                double x = (double)from[row * FDL_STRIP + i];
                sum[i] += a->l1 * __builtin_fabs(x) + a->l2 * x * x;
            }
        part[f / FDL_UNIT] = 0;
        for (size_t i = 0; i < FDL_UNIT && f + i < n; i++) part[f / FDL_UNIT] += sum[i];
    }
}

/* part = the penalty of each panel's samples */
static void activity_penalty(const void *args, fdl_range range, const fdl_step *step, void *scratch) {
    const activity_penalty_args *a = args;
    const T *x = a->x;
    double *part = a->part;
    size_t n = a->features;
    (void)scratch;
    for (size_t p = range.p0; p < range.p1; p++) {
        double sum[FDL_PANEL] = {0};
        for (size_t f = 0; f < n; f++)
            for (size_t i = 0; i < FDL_PANEL; i++) {
                double v = (double)x[(p * n + f) * FDL_PANEL + i];
                sum[i] += a->l1 * __builtin_fabs(v) + a->l2 * v * v;
            }
        part[p] = 0;
        for (size_t i = 0, samples = samples_in(step->batch, p); i < samples && i < FDL_PANEL; i++) part[p] += sum[i];
    }
}

/* dx = slope of the penalty / B */
static void activity_penalty_grad(const void *args, fdl_range range, const fdl_step *step, void *scratch) {
    const activity_penalty_grad_args *a = args;
    const T *x = a->x;
    T *dx = a->dx;
    const T l1 = (T)(a->l1 / (double)step->batch), l2 = (T)(a->l2 / (double)step->batch);
    size_t n = a->features;
    (void)scratch;
    for (size_t p = range.p0; p < range.p1; p++)
        for (size_t f = range.f0; f < range.f1; f++)
            for (size_t at = (p * n + f) * FDL_PANEL, i = at; i < at + FDL_PANEL; i += VL)
                store(dx + i, penalty_slope(load(x + i), l1, l2));
}

/* total = [total +] the sum of part, in order */
static void add_parts(const void *args, fdl_range range, const fdl_step *step, void *scratch) {
    const add_parts_args *a = args;
    const double *part = a->part;
    double *total = a->total;
    (void)range, (void)step, (void)scratch;
    if (a->first) *total = 0;
    for (size_t i = 0; i < a->parts; i++) *total += part[i];
}

#endif

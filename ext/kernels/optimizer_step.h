/* An optimizer's step on a parameter, and what is done with gradients before it and with weights after it. */
#ifndef FDL_KERNELS_OPTIMIZER_STEP_H
#define FDL_KERNELS_OPTIMIZER_STEP_H

#include <string.h>

#include "../kernels.h"
#include "../shared/panels.h"
#include "../shared/penalty.h"
#include "../shared/vec.h"
#include "optimizers.h"

/* One step of columns [f0, f1) of a parameter: a weight matrix, strip by strip, or a vector, many strips of it at once. */
static void optimizer_step(const void *args, fdl_range range, const fdl_step *step, void *scratch) {
    const optimizer_step_args *a = args;
    const rule_settings set = settings_of(step->rates, a->rate_factor, a->constants);
    rule_preparation prepare = preparation_of(step->rates, a->limit, a->decay, a->l1, a->l2);
    const double *squares = a->squares;
    const T *dw = a->dw;
    const rule_place to = place_of(a->w, a->slots);
    const size_t k = a->inputs, end = (range.f1 + VL - 1) / VL * VL;
    const size_t fit = FDL_SCRATCH / sizeof(T) / FDL_STRIP; /* rows of a strip */
    const size_t strips = k == 1 ? fit : 1, most = a->prepare ? fit : k;
    if (squares) limit_by_norm(&prepare, *squares, a->limit);
    for (size_t f = range.f0, next; f < end; f = next) {
        next = (f / FDL_STRIP + strips) * FDL_STRIP;
        if (next > end) next = end;
        for (size_t row = 0; row < k; row += most) {
            size_t rows = k - row < most ? k - row : most, at = column(k, f) + row * FDL_STRIP;
            const T *g = dw + at;
            if (a->prepare) {
                prepare_rows(&prepare, to.w + at, g, scratch, FDL_STRIP, rows, next - f);
                g = scratch;
            }
            rule_steppers[a->rule](&set, place_at(to, at), g, FDL_STRIP, rows, next - f);
        }
    }
}

/* part = the sum of squares of each unit of columns, with the slope of a penalty on w added to dw; in double, and in an
 * order that does not depend on other units. */
static void sum_squares(const void *args, fdl_range range, const fdl_step *step, void *scratch) {
    const sum_squares_args *a = args;
    const T *dw = a->dw, *w = a->w;
    const T l1 = (T)a->l1, l2 = (T)a->l2;
    double *part = a->part;
    size_t k = a->inputs, n = a->outputs;
    (void)step, (void)scratch;
    for (size_t f = range.f0; f < range.f1; f += FDL_UNIT) {
        const size_t at = column(k, f);
        double sum[FDL_UNIT] = {0};
        for (size_t row = 0; row < k; row++) {
            T g[FDL_UNIT];
            memcpy(g, dw + at + row * FDL_STRIP, sizeof g);
            if (w)
                for (size_t i = 0; i < FDL_UNIT; i += VL)
                    storeu(g + i, loadu(g + i) + penalty_slope(load(w + at + row * FDL_STRIP + i), l1, l2));
            for (size_t i = 0; i < FDL_UNIT; i++) sum[i] += (double)g[i] * (double)g[i];
        }
        part[f / FDL_UNIT] = 0;
        /* without the padding, whose numbers mean nothing */
        for (size_t i = 0; i < FDL_UNIT && f + i < n; i++) part[f / FDL_UNIT] += sum[i];
    }
}

/* average = momentum average + (1 - momentum) w, at the first step w; every `frequency` steps w = average. */
static void average_weights(const void *args, fdl_range range, const fdl_step *step, void *scratch) {
    const average_weights_args *a = args;
    T *w = a->w, *average = a->average;
    const uint64_t frequency = (uint64_t)a->frequency, steps = step->step / a->batches; /* taken before this batch */
    const T momentum = steps ? (T)a->momentum : 0;
    const int overwrite = frequency && (steps + 1) % frequency == 0;
    (void)scratch;
    for (size_t i = range.f0; i < range.f1; i += VL) {
        V mean = momentum * load(average + i) + (1 - momentum) * load(w + i);
        store(average + i, mean);
        if (overwrite) store(w + i, mean);
    }
}

/* sum += dw; each time that `batches` have come, dw = sum / batches, and sum = 0. */
static void accumulate_gradient(const void *args, fdl_range range, const fdl_step *step, void *scratch) {
    const accumulate_gradient_args *a = args;
    const int steps = (step->step + 1) % a->batches == 0;
    const V batches = splat((T)a->batches), none = {0};
    T *dw = a->dw, *sum = a->sum;
    (void)scratch;
    for (size_t i = range.f0; i < range.f1; i += VL) {
        V all = load(dw + i) + load(sum + i);
        store(sum + i, steps ? none : all);
        if (steps) store(dw + i, all / batches);
    }
}

#endif

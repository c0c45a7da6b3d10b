/* Metrics of one value a sample, and the sum of what losses and metrics leave for each panel.
 *
 * Why no macros: as in losses.h, each is one loop over vectors of samples (see terminal.h), and no two share a formula. A
 * metric writes no gradient: it leaves out what take_samples returns.
 */
#ifndef FDL_KERNELS_METRICS_H
#define FDL_KERNELS_METRICS_H

#include "../kernels.h"
#include "../shared/features.h"
#include "../shared/panels.h"
#include "../shared/vec.h"
#include "terminal.h"

/* Whether the largest prediction is the class. */
static void accuracy(const void *args, fdl_range range, const fdl_step *step, void *scratch) {
    const terminal t = terminal_of(args, range, step);
    (void)scratch;
    for (size_t p = range.p0; p < range.p1; p++)
        for (lanes at = first_lanes(step, p); at.lane < at.samples; at.lane += VL) {
            const terminal_lanes in = lanes_of(&t, at);
            VI class = classes_at(&t, in.target, at);
            take_samples(&t, at, keep(argmax(in.x, t.n) == class, splat(1)));
        }
}

/* The share of features that lie on the target's side of the threshold. */
static void accuracy_binary(const void *args, fdl_range range, const fdl_step *step, void *scratch) {
    const terminal t = terminal_of(args, range, step);
    const T share = t.scale, threshold = t.own;
    (void)scratch;
    for (size_t p = range.p0; p < range.p1; p++)
        for (lanes at = first_lanes(step, p); at.lane < at.samples; at.lane += VL) {
            const terminal_lanes in = lanes_of(&t, at);
            V hits = {0};
            for (size_t f = 0; f < t.n; f++) {
                V said = keep(load(in.x + f * FDL_PANEL) > threshold, splat(1));
                hits += keep(said == load(in.target + f * FDL_PANEL), splat(1));
            }
            take_samples(&t, at, hits * share);
        }
}

/* Whether fewer than k predictions are larger than that of the class. */
static void accuracy_top(const void *args, fdl_range range, const fdl_step *step, void *scratch) {
    const accuracy_top_args *a = args;
    const terminal t = terminal_of(args, range, step);
    const T k = (T)a->k;
    (void)scratch;
    for (size_t p = range.p0; p < range.p1; p++)
        for (lanes at = first_lanes(step, p); at.lane < at.samples; at.lane += VL) {
            const terminal_lanes in = lanes_of(&t, at);
            VI class = classes_at(&t, in.target, at);
            V value = {0}, above = {0};
            for (size_t f = 0; f < t.n; f++) value = choose(class == (I)f, load(in.x + f * FDL_PANEL), value);
            for (size_t f = 0; f < t.n; f++) above += keep(load(in.x + f * FDL_PANEL) > value, splat(1));
            take_samples(&t, at, keep((above < k) & (value == value), splat(1)));
        }
}

/* total += (sum of part, in order; samples, or their weights; samples) */
static void sum_parts(const void *args, fdl_range range, const fdl_step *step, void *scratch) {
    const sum_parts_args *a = args;
    const double *part = a->part;
    double *total = a->total;
    const T *weight = a->weight;
    (void)range, (void)scratch;
    for (size_t p = 0; p * FDL_PANEL < step->batch; p++) {
        total[0] += part[p];
        for (size_t s = 0; weight && s < samples_in(step->batch, p); s++) total[1] += (double)weight[p * FDL_PANEL + s];
    }
    if (!weight) total[1] += (double)step->batch;
    total[2] += (double)step->batch;
}

#endif

/* Metrics that count, or sum, feature by feature, into `total` in double.
 *
 * Why one sample after the other, and no vectors: totals must not depend on the width of vectors, so they are summed in the
 * order of the samples; and a count's place in `total` differs from sample to sample. Why no macros: the loop over the
 * samples is one line, sample_at gives a sample's numbers, and the formulas differ in the loop over its features.
 */
#ifndef FDL_KERNELS_COUNTERS_H
#define FDL_KERNELS_COUNTERS_H

#include "../kernels.h"
#include "../shared/panels.h"
#include "../shared/vec.h"

/* One sample: prediction and target of feature f are x[f * FDL_PANEL] and target[f * FDL_PANEL]. */
typedef struct {
    const T *x, *target;
    double weight;
} counter_sample;
INLINE counter_sample sample_at(const counter_args *a, size_t sample) {
    const T *x = a->x, *target = a->target, *weight = a->weight;
    size_t first = sample / FDL_PANEL * a->features * FDL_PANEL + sample % FDL_PANEL;
    return (counter_sample){x + first, target + first, weight ? (double)weight[sample] : 1};
}

/* How many thresholds (k, ascending) lie below x. */
INLINE size_t thresholds_below(T x, const double *threshold, size_t k) {
    size_t low = 0, high = k;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (x > (T)threshold[middle]) low = middle + 1;
        else high = middle;
    }
    return low;
}

/* total[i] += w for each negative that lies above exactly i thresholds, total[k + 1 + i] for each positive. */
static void count_above(const void *args, fdl_range range, const fdl_step *step, void *scratch) {
    const count_above_args *a = args;
    const double *threshold = a->thresholds;
    double *total = a->total;
    size_t n = a->features, k = a->count, first = a->only < n ? a->only : 0, end = a->only < n ? first + 1 : n;
    const counter_args in_common = *(const counter_args *)args; /* a copy, so that `total` cannot alias it */
    (void)range, (void)scratch;
    for (size_t sample = 0; sample < step->batch; sample++) {
        const counter_sample in = sample_at(&in_common, sample);
        for (size_t f = first; f < end; f++) {
            size_t below = thresholds_below(in.x[f * FDL_PANEL], threshold, k);
            total[below + (in.target[f * FDL_PANEL] != 0 ? k + 1 : 0)] += in.weight;
        }
    }
}

INLINE double largest_of_one(const T *x, size_t n) {
    double top = -__builtin_inf();
    for (size_t f = 0; f < n; f++)
        if ((double)x[f * FDL_PANEL] > top) top = (double)x[f * FDL_PANEL];
    return top;
}

/* total (3, F): positives that were said to be, others that were, positives that were not. Said is what lies above the
 * threshold, or, without one, a sample's largest unless it is zero. */
static void count_classes(const void *args, fdl_range range, const fdl_step *step, void *scratch) {
    const count_classes_args *a = args;
    double *total = a->total;
    size_t n = a->features;
    int by_threshold = a->by_threshold != 0;
    T threshold = (T)a->threshold;
    const counter_args in_common = *(const counter_args *)args; /* a copy, so that `total` cannot alias it */
    (void)range, (void)scratch;
    for (size_t sample = 0; sample < step->batch; sample++) {
        const counter_sample in = sample_at(&in_common, sample);
        const double top = by_threshold ? 0 : largest_of_one(in.x, n), w = in.weight;
        for (size_t f = 0; f < n; f++) {
            T x = in.x[f * FDL_PANEL], t = in.target[f * FDL_PANEL];
            double said = by_threshold ? x > threshold : (double)x >= top && (x > (T)1e-9 || x < (T)-1e-9);
            total[f] += w * said * (double)t;
            total[n + f] += w * said * (1 - (double)t);
            total[2 * n + f] += w * (1 - said) * (double)t;
        }
    }
}

/* total (4, F): sums of t, t^2, (x - t)^2 and of weights. */
static void sum_moments(const void *args, fdl_range range, const fdl_step *step, void *scratch) {
    const sum_moments_args *a = args;
    double *total = a->total;
    size_t n = a->features;
    const counter_args in_common = *(const counter_args *)args; /* a copy, so that `total` cannot alias it */
    (void)range, (void)scratch;
    for (size_t sample = 0; sample < step->batch; sample++) {
        const counter_sample in = sample_at(&in_common, sample);
        const double w = in.weight;
        for (size_t f = 0; f < n; f++) {
            T x = in.x[f * FDL_PANEL], t = in.target[f * FDL_PANEL];
            double d = (double)x - (double)t;
            total[f] += w * (double)t;
            total[n + f] += w * (double)t * (double)t;
            total[2 * n + f] += w * d * d;
            total[3 * n + f] += w;
        }
    }
}

#endif

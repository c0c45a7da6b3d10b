/* What losses and metrics of one value a sample have in common (FDL_TERMINAL of the kernel table).
 *
 * A vector is one feature of VL samples, so nothing crosses lanes. Each panel's sum over its samples goes to part[p] in
 * double; sum_parts adds the parts in order. Gradients are those of the batch's mean, and zero in the idle lanes. A sample
 * that has members (see kernels.h) has the mean of theirs as its value; labels and `each` have one entry a member.
 *
 * A loss or metric is one loop over vectors of samples, written out, with its formula inside:
 *     for (size_t p = range.p0; p < range.p1; p++)
 *         for (lanes at = first_lanes(step, p); at.lane < at.samples; at.lane += VL) {
 *             const terminal_lanes in = lanes_of(&t, at);
 *             ...
 *             V scale = take_samples(&t, at, value);
 *             ... in.dx ...
 *         }
 * It is not a macro that takes the formula as its argument, so that each name in a formula is declared where one reads it,
 * and a debugger can step through it.
 */
#ifndef FDL_KERNELS_TERMINAL_H
#define FDL_KERNELS_TERMINAL_H

#include "../kernels.h"
#include "../shared/features.h"
#include "../shared/panels.h"
#include "../shared/vec.h"

/* A terminal of one value a sample: what its kernel is called with, and where the values go. */
typedef struct {
    const T *x, *target, *weight;
    T *dx, *each;
    double *part;
    size_t n, feed;
    const fdl_step *step;
    T scale, own, target_scale, target_shift; /* a target t counts as target_scale t + target_shift */
    double share; /* of a member in its sample's value, which is the mean over its members */
} terminal;

INLINE terminal terminal_of(const void *args, fdl_range range, const fdl_step *step) {
    const terminal_args *a = args;
    terminal t = {.x = a->x, .dx = a->dx, .part = a->part, .target = a->target, .weight = a->weight, .each = a->each,
                  .n = a->features, .feed = a->feed, .step = step, .scale = (T)a->scale, .own = (T)a->own,
                  .target_scale = (T)a->smoothing[0], .target_shift = (T)a->smoothing[1],
                  .share = 1 / (double)step->members};
    for (size_t p = range.p0; p < range.p1; p++) t.part[panel_of(step, p)] = 0;
    return t;
}

/* The first feature of VL samples' predictions and targets, and of the gradient to write; features lie FDL_PANEL apart.
 * target is NULL where labels are read, dx where no gradient is wanted. */
typedef struct {
    const T *x, *target;
    T *dx;
} terminal_lanes;
INLINE terminal_lanes lanes_of(const terminal *t, lanes at) {
    const size_t first = in_features(at, t->n);
    return (terminal_lanes){t->x + first, t->target ? t->target + first : NULL, t->dx ? t->dx + first : NULL};
}

/* Adds the values of VL samples to their panel's sum. Returns what their gradients are to be multiplied with: weight / B,
 * and zero beyond the batch. */
INLINE V take_samples(const terminal *t, lanes at, V value) {
    const size_t panel = panel_of(t->step, at.p);
    V weight = splat(1);
    if (t->each) store(t->each + in_samples(at), value);
    if (t->weight) {
        weight = load(t->weight + panel * FDL_PANEL + at.lane);
        value *= weight;
    }
    t->part[panel] += sum_samples(value, at) * t->share;
    return keep(lanes_below(at.lane, at.samples), weight * (1 / (T)(t->step->batch * t->step->members)));
}

/* The labels of VL samples, from the terminal's feed; -1, which is no class, beyond the batch. */
INLINE VI read_labels(const terminal *t, lanes at) {
    I label[VL];
    const fdl_step *step = t->step;
    const fdl_feed *from = &step->feed[t->feed];
    const size_t panel = panel_of(step, at.p), member = at.p - panel * step->members;
    for (size_t i = 0, sample = panel * FDL_PANEL + at.lane; i < VL; i++, sample++) {
        label[i] = -1;
        if (sample < step->batch)
            label[i] = ((const int32_t *)(from->data + (ptrdiff_t)row_of(step, sample) * from->stride))[member];
    }
    VI labels;
    __builtin_memcpy(&labels, label, sizeof labels);
    return labels;
}
INLINE VI labels_at(const terminal *t, lanes at) { return t->target ? (VI){0} : read_labels(t, at); }

/* The class of VL samples: their label, or the first of their largest targets. */
INLINE VI classes_at(const terminal *t, const T *target, lanes at) {
    return target ? argmax(target, t->n) : labels_at(t, at);
}

/* A feature's target: of the labels, or of the targets, smoothed. */
INLINE V goal_of(const terminal *t, const T *target, VI labels, size_t f) {
    if (!target) return keep(labels == (I)f, splat(1));
    return load(target + f * FDL_PANEL) * t->target_scale + t->target_shift;
}

/* What Keras adds, or clips to, so that logarithms and quotients stay finite. */
#define FDL_EPSILON (T)1e-7

#endif

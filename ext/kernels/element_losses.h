/* Losses that are sums over elements: of each prediction x and target t the value and its slope, by which it grows with x.
 * `by` is the loss's own number. FDL_EPSILON keeps logarithms and quotients finite.
 *
 * Why macros: FDL_LOSSES (kernels.h) is the list of names. From it come, here, for each formula loss_… a loop of its own
 * with the formula inlined, and the table of these loops by number; elsewhere the numbers and the names that Python reads.
 * So a loss is its row and its formula, and no list can miss it. A formula that the loop called through a pointer would
 * cost a call for each vector, and the macro does no more than name things: the loop itself is a function.
 */
#ifndef FDL_KERNELS_ELEMENT_LOSSES_H
#define FDL_KERNELS_ELEMENT_LOSSES_H

#include "../kernels.h"
#include "../shared/features.h"
#include "../shared/panels.h"
#include "../shared/vec.h"
#include "../shared/vecmath.h"
#include "terminal.h"

/* (x - t)^2 */
INLINE V loss_squared(V x, V t, UNUSED T by, V *slope) {
    V d = x - t;
    *slope = 2 * d;
    return d * d;
}

/* |x - t| */
INLINE V loss_absolute(V x, V t, UNUSED T by, V *slope) {
    *slope = sign(x - t);
    return magnitude_of(x - t);
}

/* 100 |x - t| / |t| */
INLINE V loss_percentage(V x, V t, UNUSED T by, V *slope) {
    V share = 100 / larger(magnitude_of(t), splat(FDL_EPSILON));
    *slope = sign(x - t) * share;
    return magnitude_of(x - t) * share;
}

/* (log(1 + x) - log(1 + t))^2 */
INLINE V loss_squared_log(V x, V t, UNUSED T by, V *slope) {
    V u = larger(x, splat(FDL_EPSILON)) + 1, d = vlog(u) - vlog(larger(t, splat(FDL_EPSILON)) + 1);
    *slope = keep(~(x < FDL_EPSILON), 2 * d / u);
    return d * d;
}

/* d^2 / 2 up to |d| = by, straight on from there: by |d| - by^2 / 2 (Huber 1964) */
INLINE V loss_huber(V x, V t, T by, V *slope) {
    V d = x - t, far = magnitude_of(d);
    *slope = clamp(d, -by, by);
    return choose(far > by, by * far - by * by / 2, d * d / 2);
}

/* log cosh d = |d| + log(1 + exp(-2 |d|)) - log 2 */
INLINE V loss_log_cosh(V x, V t, UNUSED T by, V *slope) {
    V d = x - t, far = magnitude_of(d);
    *slope = vtanh(d);
    return far + vlog1p(vexp(-2 * far)) - (T)0.69314718055994530942;
}

/* x - t log x */
INLINE V loss_poisson(V x, V t, UNUSED T by, V *slope) {
    *slope = 1 - t / (x + FDL_EPSILON);
    return x - t * vlog(x + FDL_EPSILON);
}

/* max(1 - t x, 0), t in {-1, 1}, or 0 for -1 */
INLINE V loss_hinge(V x, V t, UNUSED T by, V *slope) {
    t = choose(t == 0, splat(-1), t);
    V d = 1 - t * x;
    *slope = keep(d > 0, -t);
    return keep(~(d < 0), d);
}

/* max(1 - t x, 0)^2, t as above */
INLINE V loss_squared_hinge(V x, V t, UNUSED T by, V *slope) {
    t = choose(t == 0, splat(-1), t);
    V d = larger(1 - t * x, (V){0});
    *slope = -2 * t * d;
    return d * d;
}

/* -t log x - (1 - t) log(1 - x) */
INLINE V loss_binary(V x, V t, UNUSED T by, V *slope) {
    const T low = FDL_EPSILON, high = (T)(1 - 1e-7);
    V q = clamp(x, low, high);
    *slope = keep(~((x < low) | (x > high)), (q - t) / (q * (1 - q)));
    return -t * vlog(q) - (1 - t) * vlog(1 - q);
}

/* The same of sigmoid x: max(x, 0) - x t + log(1 + exp(-|x|)) */
INLINE V loss_sigmoid(V x, V t, UNUSED T by, V *slope) {
    *slope = vsigmoid(x) - t;
    return keep(~(x < 0), x) - x * t + vlog1p(vexp(-magnitude_of(x)));
}

/* t log(t / x) (Kullback and Leibler 1951) */
INLINE V loss_divergence(V x, V t, UNUSED T by, V *slope) {
    V p = clamp(t, FDL_EPSILON, 1), q = clamp(x, FDL_EPSILON, 1);
    *slope = keep(~((x < FDL_EPSILON) | (x > 1)), -p / q);
    return p * vlog(p / q);
}

/* The loop over samples and features, into which a formula is inlined. */
INLINE void element_samples(V (*loss)(V x, V t, T by, V *slope), const void *args, fdl_range range, const fdl_step *step) {
    const terminal t = terminal_of(args, range, step);
    const T share = t.scale, by = t.own, target_scale = t.target_scale, target_shift = t.target_shift;
    for (size_t p = range.p0; p < range.p1; p++)
        for (lanes at = first_lanes(step, p); at.lane < at.samples; at.lane += VL) {
            const terminal_lanes in = lanes_of(&t, at);
            V sum = {0}, slope = {0};
            for (size_t f = 0; f < t.n; f++) {
                V x = load(in.x + f * FDL_PANEL), goal = load(in.target + f * FDL_PANEL) * target_scale + target_shift;
                sum += loss(x, goal, by, &slope);
                if (in.dx) store(in.dx + f * FDL_PANEL, slope);
            }
            V scale = take_samples(&t, at, sum * share) * share;
            if (in.dx) scale_features(in.dx, t.n, scale);
        }
}

#define FDL_LOOP(name)                                                                                                \
    static void element_##name(const void *args, fdl_range range, const fdl_step *step, UNUSED void *scratch) {       \
        element_samples(loss_##name, args, range, step);                                                              \
    }
FDL_LOSSES(FDL_LOOP)
#undef FDL_LOOP

static void element_loss(const void *args, fdl_range range, const fdl_step *step, void *scratch) {
    const element_loss_args *a = args;
#define FDL_ENTRY(name) element_##name,
    static const fdl_kernel loops[] = {FDL_LOSSES(FDL_ENTRY)};
#undef FDL_ENTRY
    loops[a->loss](args, range, step, scratch);
}

#endif

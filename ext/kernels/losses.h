/* Losses that look at a sample's features together, or that several numbers shape.
 *
 * Why no macros: each of these has a loop and a formula of its own (see terminal.h for the loop), so there is no list to
 * repeat; the kernel table alone names them. Losses that differ only in a formula are rows of element_losses.h.
 */
#ifndef FDL_KERNELS_LOSSES_H
#define FDL_KERNELS_LOSSES_H

#include "../kernels.h"
#include "../shared/features.h"
#include "../shared/panels.h"
#include "../shared/vec.h"
#include "../shared/vecmath.h"
#include "element_losses.h"
#include "terminal.h"

/* loss = scale times the sum of x: what a formula of one's own has made of prediction and target. */
static void values(const void *args, fdl_range range, const fdl_step *step, void *scratch) {
    const terminal t = terminal_of(args, range, step);
    const T scale = t.scale;
    (void)scratch;
    for (size_t p = range.p0; p < range.p1; p++)
        for (lanes at = first_lanes(step, p); at.lane < at.samples; at.lane += VL) {
            const terminal_lanes in = lanes_of(&t, at);
            V sum = {0};
            for (size_t f = 0; f < t.n; f++) sum += load(in.x + f * FDL_PANEL);
            V each = take_samples(&t, at, scale * sum) * scale;
            for (size_t f = 0; in.dx && f < t.n; f++) store(in.dx + f * FDL_PANEL, each);
        }
}

/* loss = log sum exp x - sum target x, dx = (softmax x - target) / B. */
static void softmax_cross_entropy(const void *args, fdl_range range, const fdl_step *step, void *scratch) {
    const terminal t = terminal_of(args, range, step);
    (void)scratch;
    for (size_t p = range.p0; p < range.p1; p++)
        for (lanes at = first_lanes(step, p); at.lane < at.samples; at.lane += VL) {
            const terminal_lanes in = lanes_of(&t, at);
            V top = largest(in.x, t.n), sum = {0}, all = {0}, picked = {0};
            VI labels = labels_at(&t, at);
            for (size_t f = 0; f < t.n; f++) {
                V v = load(in.x + f * FDL_PANEL) - top, e = vexp(v), goal = goal_of(&t, in.target, labels, f);
                sum += e;
                if (in.dx) store(in.dx + f * FDL_PANEL, e);
                all += goal;
                /* x may be -inf where the target is 0, and 0 times that is NaN */
                picked += keep(goal != 0, goal * v);
            }
            if (!in.target) all = splat(1); /* also where no class has the label, beyond the batch */
            V each = take_samples(&t, at, all * vlog(sum) - picked), scale = each * all / sum;
            for (size_t f = 0; in.dx && f < t.n; f++)
                store(in.dx + f * FDL_PANEL, load(in.dx + f * FDL_PANEL) * scale - each * goal_of(&t, in.target, labels, f));
        }
}

/* loss = -sum target log q, q = x / sum x within (epsilon, 1 - epsilon); dx = (dq - sum q dq) / sum x, dq = -target / q. */
static void probability_cross_entropy(const void *args, fdl_range range, const fdl_step *step, void *scratch) {
    const terminal t = terminal_of(args, range, step);
    const T low = FDL_EPSILON, high = (T)(1 - 1e-7);
    (void)scratch;
    for (size_t p = range.p0; p < range.p1; p++)
        for (lanes at = first_lanes(step, p); at.lane < at.samples; at.lane += VL) {
            const terminal_lanes in = lanes_of(&t, at);
            V sum = {0}, loss = {0}, dot = {0};
            VI labels = labels_at(&t, at);
            for (size_t f = 0; f < t.n; f++) sum += load(in.x + f * FDL_PANEL);
            for (size_t f = 0; f < t.n; f++) {
                V q = load(in.x + f * FDL_PANEL) / sum, inside = clamp(q, low, high);
                V goal = goal_of(&t, in.target, labels, f);
                V slope = keep(~((q < low) | (q > high)), -goal / inside);
                loss -= goal * vlog(inside);
                dot += q * slope;
                if (in.dx) store(in.dx + f * FDL_PANEL, slope);
            }
            V scale = take_samples(&t, at, loss) / sum;
            for (size_t f = 0; in.dx && f < t.n; f++)
                store(in.dx + f * FDL_PANEL, (load(in.dx + f * FDL_PANEL) - dot) * scale);
        }
}

/* Sum of scale w (1 - p_t)^gamma times the binary cross-entropy of q, p_t = t q + (1 - t)(1 - q) (Lin et al. 2017). */
static void binary_focal(const void *args, fdl_range range, const fdl_step *step, void *scratch) {
    const binary_focal_args *a = args;
    const terminal t = terminal_of(args, range, step);
    const T share = t.scale, gamma = t.own, target_scale = t.target_scale, target_shift = t.target_shift;
    const T one = (T)a->weights[0], zero = (T)a->weights[1];
    const int logits = a->logits != 0;
    (void)scratch;
    for (size_t p = range.p0; p < range.p1; p++)
        for (lanes at = first_lanes(step, p); at.lane < at.samples; at.lane += VL) {
            const terminal_lanes in = lanes_of(&t, at);
            V sum = {0}, scale;
            for (size_t f = 0; f < t.n; f++) {
                V v = load(in.x + f * FDL_PANEL), slope;
                V goal = load(in.target + f * FDL_PANEL) * target_scale + target_shift;
                V q = logits ? vsigmoid(v) : v, far = goal + q - 2 * goal * q; /* 1 - p_t */
                V by = (goal * one + (1 - goal) * zero) * power_of(far, gamma);
                V loss = logits ? loss_sigmoid(v, goal, 0, &slope) : loss_binary(v, goal, 0, &slope);
                V turn = gamma * (1 - 2 * goal) * loss / larger(far, splat((T)1e-37));
                sum += by * loss;
                if (logits) turn *= q * (1 - q);
                if (in.dx) store(in.dx + f * FDL_PANEL, by * (slope + turn));
            }
            scale = take_samples(&t, at, sum * share) * share;
            if (in.dx) scale_features(in.dx, t.n, scale);
        }
}

/* Sum of -scale (1 - q)^gamma target log q, q = exp x / sum exp x, or x / sum x, within (epsilon, 1 - epsilon) (Lin et al.
 * 2017). */
static void categorical_focal(const void *args, fdl_range range, const fdl_step *step, void *scratch) {
    const categorical_focal_args *a = args;
    const terminal t = terminal_of(args, range, step);
    const T low = FDL_EPSILON, high = (T)(1 - 1e-7), alpha = t.scale, gamma = t.own;
    const int logits = a->logits != 0;
    (void)scratch;
    for (size_t p = range.p0; p < range.p1; p++)
        for (lanes at = first_lanes(step, p); at.lane < at.samples; at.lane += VL) {
            const terminal_lanes in = lanes_of(&t, at);
            V top = logits ? largest(in.x, t.n) : (V){0}, sum = {0}, loss = {0}, dot = {0};
            for (size_t f = 0; f < t.n; f++) {
                V v = load(in.x + f * FDL_PANEL);
                sum += logits ? vexp(v - top) : v;
            }
            for (size_t f = 0; f < t.n; f++) {
                V v = load(in.x + f * FDL_PANEL), q = (logits ? vexp(v - top) : v) / sum, inside = clamp(q, low, high);
                V goal = goal_of(&t, in.target, (VI){0}, f), by = alpha * goal * power_of(1 - inside, gamma);
                V slope = keep(~((q < low) | (q > high)), by * (gamma * vlog(inside) / (1 - inside) - 1 / inside));
                loss -= by * vlog(inside);
                dot += q * slope;
                if (in.dx) store(in.dx + f * FDL_PANEL, slope);
            }
            V scale = take_samples(&t, at, loss) / (logits ? splat(1) : sum);
            for (size_t f = 0; in.dx && f < t.n; f++) {
                V slope = (load(in.dx + f * FDL_PANEL) - dot) * scale;
                if (logits) slope *= vexp(load(in.x + f * FDL_PANEL) - top) / sum;
                store(in.dx + f * FDL_PANEL, slope);
            }
        }
}

/* (1 - x^q) / q of the label's x (Zhang and Sabuncu 2018). */
static void generalized_cross_entropy(const void *args, fdl_range range, const fdl_step *step, void *scratch) {
    const terminal t = terminal_of(args, range, step);
    const T q = t.own;
    (void)scratch;
    for (size_t p = range.p0; p < range.p1; p++)
        for (lanes at = first_lanes(step, p); at.lane < at.samples; at.lane += VL) {
            const terminal_lanes in = lanes_of(&t, at);
            V picked = {0};
            VI labels = labels_at(&t, at);
            for (size_t f = 0; f < t.n; f++) picked += keep(labels == (I)f, load(in.x + f * FDL_PANEL));
            V power = power_of(picked, q), scale = take_samples(&t, at, (1 - power) / q);
            V slope = -power / larger(picked, splat((T)1e-37)) * scale;
            for (size_t f = 0; in.dx && f < t.n; f++) store(in.dx + f * FDL_PANEL, keep(labels == (I)f, slope));
        }
}

/* scale times the cosine of the angle between x and target. */
static void cosine_similarity(const void *args, fdl_range range, const fdl_step *step, void *scratch) {
    const terminal t = terminal_of(args, range, step);
    const T by = t.scale, least = FDL_EPSILON * FDL_EPSILON;
    (void)scratch;
    for (size_t p = range.p0; p < range.p1; p++)
        for (lanes at = first_lanes(step, p); at.lane < at.samples; at.lane += VL) {
            const terminal_lanes in = lanes_of(&t, at);
            V xx = {0}, tt = {0}, xt = {0};
            for (size_t f = 0; f < t.n; f++) {
                V v = load(in.x + f * FDL_PANEL), goal = load(in.target + f * FDL_PANEL);
                xx += v * v;
                tt += goal * goal;
                xt += v * goal;
            }
            V inv_x = 1 / square_root(larger(xx, splat(least))), inv_t = 1 / square_root(larger(tt, splat(least)));
            V cosine = xt * inv_x * inv_t, scale = take_samples(&t, at, by * cosine) * by * inv_x;
            V along = keep(xx > least, cosine * inv_x); /* a shorter vector is not scaled to length 1 */
            for (size_t f = 0; in.dx && f < t.n; f++)
                store(in.dx + f * FDL_PANEL,
                      (load(in.target + f * FDL_PANEL) * inv_t - load(in.x + f * FDL_PANEL) * along) * scale);
        }
}

/* max(1 + the largest of (1 - target) x - sum target x, 0) */
static void categorical_hinge(const void *args, fdl_range range, const fdl_step *step, void *scratch) {
    const terminal t = terminal_of(args, range, step);
    (void)scratch;
    for (size_t p = range.p0; p < range.p1; p++)
        for (lanes at = first_lanes(step, p); at.lane < at.samples; at.lane += VL) {
            const terminal_lanes in = lanes_of(&t, at);
            V wrong = splat(-(T)__builtin_inf()), right = {0};
            VI at_wrong = {0};
            for (size_t f = 0; f < t.n; f++) {
                V v = load(in.x + f * FDL_PANEL), goal = load(in.target + f * FDL_PANEL), other = (1 - goal) * v;
                VI above = other > wrong;
                right += goal * v;
                wrong = larger(wrong, other);
                at_wrong = (above & ((I)f - (VI){0})) | (~above & at_wrong);
            }
            V loss = wrong - right + 1, scale = take_samples(&t, at, keep(~(loss < 0), loss));
            scale = keep(loss > 0, scale);
            for (size_t f = 0; in.dx && f < t.n; f++) {
                V goal = load(in.target + f * FDL_PANEL);
                store(in.dx + f * FDL_PANEL, (keep(at_wrong == (I)f, 1 - goal) - goal) * scale);
            }
        }
}

#endif

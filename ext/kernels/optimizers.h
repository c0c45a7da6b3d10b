/* Optimizer rules, in Keras's form: one function each, from a vector of weights, its gradient and its slots to the new
 * weights and slots. What follows runs a rule of FDL_RULES over the rows of a parameter, or of a tile of one, and does what
 * comes before the rule. The kernels stand in optimizer_step.h and dense_step.h. */
#ifndef FDL_KERNELS_OPTIMIZERS_H
#define FDL_KERNELS_OPTIMIZERS_H

#include "../kernels.h"
#include "../shared/penalty.h"
#include "../shared/vec.h"
#include "../shared/vecmath.h"

/* A rule's constants for one step, passed by value, so that stores cannot alias them. */
typedef struct {
    T rate[FDL_MAX_RATES]; /* computed by the optimizer's class for this step */
    T s[4];                /* its scalars */
} rule_settings;

/* factor: of the parameter's steps. A rule's first two rates are step sizes, others are not. */
INLINE rule_settings settings_of(const double *rates, double factor, const double *constants) {
    rule_settings set;
    for (size_t i = 0; i < FDL_MAX_RATES; i++) set.rate[i] = (T)(i < 2 ? rates[i] * factor : rates[i]);
    for (size_t i = 0; i < 4; i++) set.s[i] = (T)constants[i];
    return set;
}

/* w -= rate g */
INLINE V rule_sgd(rule_settings set, V w, V g, V *slot) {
    (void)slot;
    return w - set.rate[0] * g;
}

/* velocity = momentum velocity - rate g;  w += velocity.  s: momentum */
INLINE V rule_momentum(rule_settings set, V w, V g, V *slot) {
    slot[0] = set.s[0] * slot[0] - set.rate[0] * g;
    return w + slot[0];
}

/* velocity = momentum velocity - rate g;  w += momentum velocity - rate g.  s: momentum */
INLINE V rule_nesterov(rule_settings set, V w, V g, V *slot) {
    V step = set.rate[0] * g;
    slot[0] = set.s[0] * slot[0] - step;
    return w + (set.s[0] * slot[0] - step);
}

/* Adam (Kingma and Ba 2015): m += (g - m)(1 - beta_1), v += (g^2 - v)(1 - beta_2), w -= rate m / (sqrt v + epsilon).
 * s: 1 - beta_1, 1 - beta_2, epsilon.  rate: learning rate * sqrt(1 - beta_2^t) / (1 - beta_1^t) */
INLINE V rule_adam(rule_settings set, V w, V g, V *slot) {
    slot[0] += (g - slot[0]) * set.s[0];
    slot[1] += (g * g - slot[1]) * set.s[1];
    return w - slot[0] * set.rate[0] / (square_root(slot[1]) + set.s[2]);
}

/* Adagrad (Duchi et al. 2011): sum += g^2, w -= rate g / sqrt(sum + epsilon).  s: epsilon */
INLINE V rule_adagrad(rule_settings set, V w, V g, V *slot) {
    slot[0] += g * g;
    return w - set.rate[0] * g / square_root(slot[0] + set.s[0]);
}

/* RMSprop (Tieleman and Hinton 2012): v += (g^2 - v)(1 - rho), w -= rate g / sqrt(v + epsilon).
 * s: 1 - rho, epsilon, momentum */
INLINE V rmsprop_step(rule_settings set, V g, V *v) {
    *v += (g * g - *v) * set.s[0];
    return set.rate[0] * g / square_root(*v + set.s[1]);
}

INLINE V rule_rmsprop(rule_settings set, V w, V g, V *slot) { return w - rmsprop_step(set, g, slot); }

/* velocity = momentum velocity + step;  w -= velocity */
INLINE V rule_rmsprop_momentum(rule_settings set, V w, V g, V *slot) {
    slot[1] = set.s[2] * slot[1] + rmsprop_step(set, g, slot);
    return w - slot[1];
}

/* Centered (Graves 2013): mean += (g - mean)(1 - rho), and v - mean^2 for v. It is a variance, but rounding
 * may take it below zero, which has no root. */
INLINE V rmsprop_centered_step(rule_settings set, V g, V *v, V *mean) {
    *v += (g * g - *v) * set.s[0];
    *mean += (g - *mean) * set.s[0];
    return set.rate[0] * g / square_root(larger(*v - *mean * *mean, (V){0}) + set.s[1]);
}

INLINE V rule_rmsprop_centered(rule_settings set, V w, V g, V *slot) {
    return w - rmsprop_centered_step(set, g, slot, slot + 1);
}

INLINE V rule_rmsprop_centered_momentum(rule_settings set, V w, V g, V *slot) {
    slot[1] = set.s[2] * slot[1] + rmsprop_centered_step(set, g, slot, slot + 2);
    return w - slot[1];
}

/* Adadelta (Zeiler 2012): v += (g^2 - v)(1 - rho), d = g sqrt(u + epsilon) / sqrt(v + epsilon), u += (d^2 - u)(1 - rho),
 * w -= rate d.  s: 1 - rho, epsilon */
INLINE V rule_adadelta(rule_settings set, V w, V g, V *slot) {
    slot[0] += (g * g - slot[0]) * set.s[0];
    V step = square_root(slot[1] + set.s[1]) * g / square_root(slot[0] + set.s[1]);
    slot[1] += (step * step - slot[1]) * set.s[0];
    return w - set.rate[0] * step;
}

/* FTRL-Proximal (McMahan et al. 2013): n += g^2, z += g + 2 shrinkage w - w (n^p - n_before^p) / rate,
 * w = (clip(z, l1) - z) / ((n^p + beta) / rate + 2 l2). A weight of which nothing is known stays zero.
 * s: p, l1, 2 l2, 2 shrinkage.  rate 2: beta */
INLINE V ftrl_power(V n, T p) { return p == (T)0.5 ? square_root(n) : power_of(n, p); }

INLINE V rule_ftrl(rule_settings set, V w, V g, V *slot) {
    V before = ftrl_power(slot[0], set.s[0]);
    slot[0] += g * g;
    V after = ftrl_power(slot[0], set.s[0]), curvature = (after + set.rate[2]) / set.rate[0] + set.s[2];
    slot[1] += g + set.s[3] * w - (after - before) / set.rate[0] * w;
    return choose(curvature == 0, w - w, (clamp(slot[1], -set.s[1], set.s[1]) - slot[1]) / curvature);
}

/* Adafactor's rule for vectors (Shazeer and Stern 2018): v += (g^2 + least - v) share, w -= rate g / sqrt(v).
 * s: least.  rate 3: share */
INLINE V rule_adafactor(rule_settings set, V w, V g, V *slot) {
    slot[0] += (g * g + set.s[0] - slot[0]) * set.rate[3];
    return w - set.rate[0] * choose(slot[0] == 0, g, g / square_root(slot[0]));
}

/* Lamb's direction (You et al. 2020): Adam's m and v, w -= rate (rate_2 m) / (rate_3 sqrt v + epsilon).
 * s: 1 - beta_1, 1 - beta_2, epsilon.  The later rates correct the bias. */
INLINE V rule_lamb(rule_settings set, V w, V g, V *slot) {
    slot[0] += (g - slot[0]) * set.s[0];
    slot[1] += (g * g - slot[1]) * set.s[1];
    return w - set.rate[0] * (set.rate[2] * slot[0] / (square_root(slot[1]) * set.rate[3] + set.s[2]));
}

/* Schedule-free AdamW (Defazio et al. 2024): v as Adam's, z -= rate g / (rate_2 sqrt v + epsilon), x += (z - x) rate_3, where
 * w = (1 - beta_1) z + beta_1 x before and after.  s: beta_1, 1 - beta_2, epsilon.  rate 2: of the bias; rate 3: 1 / t */
INLINE V rule_schedule_free(rule_settings set, V w, V g, V *slot) {
    V x = (w - (1 - set.s[0]) * slot[0]) / set.s[0];
    slot[1] += (g * g - slot[1]) * set.s[1];
    slot[0] -= set.rate[0] * g / (square_root(slot[1]) * set.rate[2] + set.s[2]);
    x = (1 - set.rate[3]) * x + set.rate[3] * slot[0];
    return (1 - set.s[0]) * slot[0] + set.s[0] * x;
}

/* AMSGrad (Reddi et al. 2018): Adam with the largest v so far */
INLINE V rule_amsgrad(rule_settings set, V w, V g, V *slot) {
    slot[0] += (g - slot[0]) * set.s[0];
    slot[1] += (g * g - slot[1]) * set.s[1];
    slot[2] = larger(slot[2], slot[1]);
    return w - slot[0] * set.rate[0] / (square_root(slot[2]) + set.s[2]);
}

/* Adamax (Kingma and Ba 2015): m += (g - m)(1 - beta_1), u = max(beta_2 u, |g|), w -= rate m / (u + epsilon).
 * s: 1 - beta_1, beta_2, epsilon.  rate: learning rate / (1 - beta_1^t) */
INLINE V rule_adamax(rule_settings set, V w, V g, V *slot) {
    slot[0] += (g - slot[0]) * set.s[0];
    slot[1] = larger(choose(g < 0, -g, g), set.s[1] * slot[1]);
    return w - slot[0] * set.rate[0] / (slot[1] + set.s[2]);
}

/* Nadam (Dozat 2016): Adam's m and v, w -= (rate_0 m + rate_1 g) / (rate_2 sqrt v + epsilon).
 * s: 1 - beta_1, 1 - beta_2, epsilon.  The rates correct the bias, with momenta that warm up. */
INLINE V rule_nadam(rule_settings set, V w, V g, V *slot) {
    slot[0] += (g - slot[0]) * set.s[0];
    slot[1] += (g * g - slot[1]) * set.s[1];
    return w - (set.rate[0] * slot[0] + set.rate[1] * g) / (square_root(slot[1]) * set.rate[2] + set.s[2]);
}

/* Lion (Chen et al. 2023): w -= rate sign(m + (g - m)(1 - beta_1)), m += (g - m)(1 - beta_2).  s: 1 - beta_1, 1 - beta_2.
 * A NaN stays one instead of having a sign, so that it reaches the weights. */
INLINE V rule_lion(rule_settings set, V w, V g, V *slot) {
    V d = slot[0] + (g - slot[0]) * set.s[0], one = splat(1);
    slot[0] += (g - slot[0]) * set.s[1];
    return w - set.rate[0] * choose(d == d, keep(d > 0, one) - keep(d < 0, one), d);
}

/* Where a rule works: weights and slots, from the first element of a part. Slots beyond the rule's are never read. */
typedef struct {
    T *w, *slot[FDL_MAX_SLOTS];
} rule_place;

INLINE rule_place place_of(void *w, void *const *slots) {
    rule_place place = {w, {NULL}};
    for (size_t i = 0; i < FDL_MAX_SLOTS; i++) place.slot[i] = slots[i];
    return place;
}

INLINE rule_place place_at(rule_place place, size_t at) {
    place.w += at;
    for (size_t i = 0; i < FDL_MAX_SLOTS; i++)
        if (place.slot[i]) place.slot[i] += at;
    return place;
}

/* A rule and its slots by number, which is a constant in each use, so that the rule is inlined. The cases are made by macros
 * of one line each; a table of functions in their place would not be inlined. */
INLINE int slots_of(int rule) {
    switch (rule) {
#define FDL_CASE(name, slots) case FDL_RULE_##name: return slots;
        FDL_RULES(FDL_CASE)
#undef FDL_CASE
    }
    return 0;
}
INLINE V apply_rule(int rule, rule_settings set, V w, V g, V *slot) {
    switch (rule) {
#define FDL_CASE(name, slots) case FDL_RULE_##name: return rule_##name(set, w, g, slot);
        FDL_RULES(FDL_CASE)
#undef FDL_CASE
    }
    return w;
}

/* Steps the vector at `at` by its gradient g. */
INLINE void step_vector(int rule, rule_settings set, rule_place place, size_t at, V g) {
    const int slots = slots_of(rule);
    V slot[FDL_MAX_SLOTS];
    for (int i = 0; i < slots; i++) slot[i] = load(place.slot[i] + at);
    store(place.w + at, apply_rule(rule, set, load(place.w + at), g, slot));
    for (int i = 0; i < slots; i++) store(place.slot[i] + at, slot[i]);
}

/* Steps `rows` rows of `columns` elements; a row follows the one before it by FDL_STRIP elements, in g by ldg. Columns are
 * rounded up to whole vectors: the padding's weights and gradients are zero, and no rule moves a zero by a zero. */
INLINE void step_rows(int rule, rule_settings set, rule_place place, const T *g, size_t ldg, size_t rows, size_t columns) {
    for (size_t row = 0; row < rows; row++)
        for (size_t i = 0; i < columns; i += VL) step_vector(rule, set, place, row * FDL_STRIP + i, load(g + row * ldg + i));
}

/* step_rows of each rule, by its number. */
typedef void (*rule_stepper)(const rule_settings *set, rule_place place, const T *g, size_t ldg, size_t rows,
                             size_t columns);
#define FDL_STEPPER(name, slots)                                                                              \
    static void step_##name(const rule_settings *set, rule_place place, const T *g, size_t ldg, size_t rows, \
                            size_t columns) {                                                                 \
        step_rows(FDL_RULE_##name, *set, place, g, ldg, rows, columns);                                       \
    }
FDL_RULES(FDL_STEPPER)
#undef FDL_STEPPER
#define FDL_ENTRY(name, slots) step_##name,
static const rule_stepper rule_steppers[] = {FDL_RULES(FDL_ENTRY)};
#undef FDL_ENTRY

/* What comes before any rule, in Keras's order: g += slope of the penalty, g = scale g, no further than `limit` from zero;
 * w -= decay w. */
typedef struct {
    T scale, limit, decay, l1, l2;
} rule_preparation;

/* limit: of an element of the gradient; decay, l1, l2: the parameter's. */
INLINE rule_preparation preparation_of(const double *rates, double limit, double decay, double l1, double l2) {
    return (rule_preparation){1, (T)limit, (T)(decay * rates[FDL_MAX_RATES - 1]), (T)l1, (T)l2};
}

/* The same where the gradient's norm may be no larger than the limit. A norm that is NaN makes all weights NaN. */
INLINE void limit_by_norm(rule_preparation *prepare, double squares, double limit) {
    double norm = __builtin_sqrt(squares);
    prepare->scale = norm <= limit ? 1 : (T)(limit / norm);
    prepare->limit = (T)__builtin_inf();
}

/* For the same rows as step_rows, and before it; the gradient that the rule then takes goes to `to`, which may be g. */
INLINE void prepare_rows(const rule_preparation *prepare, T *w, const T *g, T *to, size_t ldg, size_t rows, size_t columns) {
    const rule_preparation by = *prepare;
    for (size_t row = 0; row < rows; row++)
        for (size_t i = 0; i < columns; i += VL) {
            V *weights = (V *)(w + row * FDL_STRIP + i);
            V slope = load(g + row * ldg + i) + penalty_slope(*weights, by.l1, by.l2);
            store(to + row * ldg + i, clamp(by.scale * slope, -by.limit, by.limit));
            *weights -= *weights * by.decay;
        }
}

#endif

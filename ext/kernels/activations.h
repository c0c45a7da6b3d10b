/* Activations, element by element: whole panels at once, idle lanes included, because that is cheaper than a test.
 *
 * A row of FDL_ACTIVATIONS is two functions here: act_… gives y of x, grad_… gives dx of dy and what its row reads, x
 * or y. s: up to FDL_ACTIVATION_SCALARS constants. NaN in, NaN out; at the infinities the limit. Where a result can be
 * tiny, the power of two of an exponential is applied last, so that nothing before it underflows.
 *
 * Results are within 4 ulp, those of exp, log and the like within 2. Exceptions: tanh 2.5; gelu 4.5; gelu's tanh form
 * 4 + 3 |z|, because its exponent z is rounded.
 */
#ifndef FDL_KERNELS_ACTIVATIONS_H
#define FDL_KERNELS_ACTIVATIONS_H

#include "../kernels.h"
#include "../shared/vec.h"
#include "../shared/vecmath.h"

/* max(x, 0); not by x > 0, which would swallow NaN */
INLINE V act_relu(V x, UNUSED const T *s) { return keep(~(x < 0), x); }
INLINE V grad_relu(V y, V dy, UNUSED const T *s) { return keep(y > 0, dy); }

/* min(max(x, 0), s0) */
INLINE V act_relu6(V x, const T *s) { return choose(x > s[0], splat(s[0]), keep(~(x < 0), x)); }
INLINE V grad_relu6(V y, V dy, const T *s) { return keep((y > 0) & (y < s[0]), dy); }

/* x, below 0 s0 x; s0 >= 0, so that y has the sign of x */
INLINE V act_leaky_relu(V x, const T *s) { return choose(x < 0, x * s[0], x); }
INLINE V grad_leaky_relu(V y, V dy, const T *s) { return choose(y > 0, dy, dy * s[0]); }

/* min(x, s1) above the threshold s2, s0 (x - s2) up to it; s1 may be infinite */
INLINE V act_rectify(V x, const T *s) {
    V below = (x - s[2]) * s[0];
    if (s[0] == 0) below = splat(0); /* infinity times 0 is NaN */
    return choose(x <= s[2], below, choose(x > s[1], splat(s[1]), x));
}
INLINE V grad_rectify(V x, V dy, const T *s) { return choose(x > s[2], keep(x < s[1], dy), dy * s[0]); }

/* 1 / (1 + exp(-x)) */
INLINE V act_sigmoid(V x, UNUSED const T *s) { return vsigmoid(x); }
INLINE V grad_sigmoid(V y, V dy, UNUSED const T *s) { return dy * (y * (1 - y)); }

/* min(max(x + 3, 0), 6) / 6 */
INLINE V act_hard_sigmoid(V x, UNUSED const T *s) { return clamp(x + 3, 0, 6) / 6; }
INLINE V grad_hard_sigmoid(V y, V dy, UNUSED const T *s) { return keep((y > 0) & (y < 1), dy / 6); }

INLINE V act_tanh(V x, UNUSED const T *s) { return vtanh(x); }
INLINE V grad_tanh(V y, V dy, UNUSED const T *s) { return dy * (1 - y * y); }

/* exp(x) */
INLINE V act_exponential(V x, UNUSED const T *s) { return vexp(x); }
INLINE V grad_exponential(V y, V dy, UNUSED const T *s) { return dy * y; }

/* log(1 + exp(x)) = max(x, 0) + log1p(exp(-|x|)); the derivative, sigmoid(x), is 1 - exp(-y) */
INLINE V act_softplus(V x, UNUSED const T *s) { return keep(~(x < 0), x) + vlog1p(vexp(-magnitude_of(x))); }
INLINE V grad_softplus(V y, V dy, UNUSED const T *s) { return dy * -vexpm1_negative(-y); }

/* x / (1 + |x|); beyond 1e30 that is the sign of x, and an infinity divided by another would be NaN */
INLINE V act_softsign(V x, UNUSED const T *s) {
    x = clamp(x, (T)-1e30, (T)1e30);
    return x / (1 + magnitude_of(x));
}
INLINE V grad_softsign(V y, V dy, UNUSED const T *s) {
    V slope = 1 - magnitude_of(y);
    return dy * (slope * slope);
}

/* s1 x, below 0 s1 s0 (exp(x) - 1): ELU (Clevert et al. 2016) with s1 = 1, SELU (Klambauer et al. 2017); s0 >= 0 */
INLINE V act_elu(V x, const T *s) { return s[1] * choose(x < 0, s[0] * vexpm1_negative(x), x); }
INLINE V grad_elu(V y, V dy, const T *s) { return dy * choose(y > 0, splat(s[1]), y + s[0] * s[1]); }

/* s0 x + s1 */
INLINE V act_rescale(V x, const T *s) { return x * s[0] + s[1]; }
INLINE V grad_rescale(UNUSED V y, V dy, const T *s) { return dy * s[0]; }

/* x sigmoid(z), which is x e / (1 + e) for negative z, with e = exp(-|z|). */
INLINE V times_sigmoid(V x, V z) {
    VI n;
    V p = expm1_series(exp_reduce(clamp(-magnitude_of(z), FDL_EXP_LOW, 0), &n));
    return choose(z < 0, scale_by(x + x * p, n), x) / (1 + scale_by(1 + p, n));
}

/* sigmoid(z) + x sigmoid'(z) z', with sigmoid' = e / (1 + e)^2 */
INLINE V times_sigmoid_slope(V x, V z, V dz) {
    V e = vexp(-magnitude_of(z)), whole = 1 / (1 + e);
    return choose(z < 0, e, splat(1)) * whole + x * dz * (e * whole * whole);
}

/* x sigmoid(x) (Ramachandran et al. 2017: swish). Clamped where the result is 0 already: -inf times 0 is NaN. */
INLINE V act_silu(V x, UNUSED const T *s) {
    x = choose(x < FDL_EXP_LOW, splat(FDL_EXP_LOW), x);
    return times_sigmoid(x, x);
}
INLINE V grad_silu(V x, V dy, UNUSED const T *s) {
    x = clamp(x, FDL_EXP_LOW, -FDL_EXP_LOW);
    return dy * times_sigmoid_slope(x, x, splat(1));
}

/* x min(max(x + 3, 0), 6) / 6 */
INLINE V act_hard_silu(V x, UNUSED const T *s) {
    x = choose(x < -3, splat(-3), x);
    return x * (clamp(x + 3, 0, 6) / 6);
}
INLINE V grad_hard_silu(V x, V dy, UNUSED const T *s) {
    return dy * choose(x < -3, (V){0}, choose(x > 3, splat(1), x / 3 + (T)0.5));
}

/* x tanh(softplus(x)) (Misra 2020) = x n / (n + 2) with n = e (e + 2), e = exp(x); from 40 on x itself */
INLINE V act_mish(V x, UNUSED const T *s) {
    VI n;
    x = choose(x < FDL_EXP_LOW, splat(FDL_EXP_LOW), x);
    V p = expm1_series(exp_reduce(choose(x > 40, splat(40), x), &n)), e = scale_by(1 + p, n);
    V share = (e + 2) / (e * (e + 2) + 2);
    return choose(x < 0, scale_by(x + x * p, n) * share, x * (e * share));
}
/* n / (n + 2) + 4 x e (1 + e) / (n + 2)^2 */
INLINE V grad_mish(V x, V dy, UNUSED const T *s) {
    x = clamp(x, FDL_EXP_LOW, 40);
    V e = vexp(x), n = e * (e + 2), whole = 1 / (n + 2);
    return dy * (n * whole + 4 * x * (e * whole) * ((1 + e) * whole));
}

/* x Phi(x), Phi the normal distribution function (Hendrycks and Gimpel 2016) */
INLINE V act_gelu(V x, UNUSED const T *s) {
    VI n;
    V tail, near = clamp(x, -FDL_TAIL_END, FDL_TAIL_END), e = normal_tail(x, &n, &tail);
    V product = near * tail, part = scale_by(product + product * e, n); /* x P(X < -|x|) */
    return choose(x < 0, part, x - part);
}
/* Phi(x) + x phi(x) */
INLINE V grad_gelu(V x, V dy, UNUSED const T *s) {
    VI n;
    x = clamp(x, -FDL_TAIL_END, FDL_TAIL_END);
    V tail, e = normal_tail(x, &n, &tail);
    e = scale_by(e + 1, n);
    tail *= e;
    return dy * (choose(x < 0, tail, 1 - tail) + x * e * (T)0.39894228040143267794);
}

/* x / 2 (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3))) = x sigmoid(z), z twice the argument */
#define FDL_GELU_LINEAR (T)1.59576912160573071176
#define FDL_GELU_CUBIC (T)0.07135481627260025
INLINE V act_gelu_tanh(V x, UNUSED const T *s) {
    x = choose(x < -40, splat(-40), x);
    return times_sigmoid(x, x * (x * x * FDL_GELU_CUBIC + FDL_GELU_LINEAR));
}
INLINE V grad_gelu_tanh(V x, V dy, UNUSED const T *s) {
    x = clamp(x, -40, 40);
    V square = x * x;
    return dy * times_sigmoid_slope(x, x * (square * FDL_GELU_CUBIC + FDL_GELU_LINEAR),
                                    square * (3 * FDL_GELU_CUBIC) + FDL_GELU_LINEAR);
}

/* Within 1.5 ulp of 1 for |x| up to 1e5 in float32, 1e8 in float64; beyond, finite; there is no limit at the infinities */
INLINE V act_cos(V x, UNUSED const T *s) { return vcos(x); }
INLINE V grad_cos(V x, V dy, UNUSED const T *s) { return -dy * vsin(x); }
INLINE V act_sin(V x, UNUSED const T *s) { return vsin(x); }
INLINE V grad_sin(V x, V dy, UNUSED const T *s) { return dy * vcos(x); }

/* The scalars, passed by value, so that stores cannot alias them. */
typedef struct {
    T s[FDL_ACTIVATION_SCALARS];
} activation_scalars;

/* The two loops over `count` elements: the formula is inlined into them. */
INLINE void apply_activation(V (*act)(V x, const T *s), const T *s, const T *x, T *y, size_t count) {
    for (size_t i = 0; i < count; i += VL) store(y + i, act(load(x + i), s));
}
INLINE void apply_gradient(V (*grad)(V saved, V dy, const T *s), const T *s, const T *saved, const T *dy, T *dx,
                           size_t count) {
    for (size_t i = 0; i < count; i += VL) store(dx + i, grad(load(saved + i), load(dy + i), s));
}

/* Both loops of each row, by the row's number. */
typedef struct {
    void (*forward)(activation_scalars set, const T *x, T *y, size_t count);
    void (*backward)(activation_scalars set, const T *saved, const T *dy, T *dx, size_t count);
} activation_loops;
#define FDL_LOOPS(name, reads)                                                                              \
    static void name##_forward(activation_scalars set, const T *x, T *y, size_t count) {                   \
        apply_activation(act_##name, set.s, x, y, count);                                                   \
    }                                                                                                       \
    static void name##_backward(activation_scalars set, const T *saved, const T *dy, T *dx, size_t count) { \
        apply_gradient(grad_##name, set.s, saved, dy, dx, count);                                           \
    }
FDL_ACTIVATIONS(FDL_LOOPS)
#undef FDL_LOOPS
#define FDL_ENTRY(name, reads) {name##_forward, name##_backward},
static const activation_loops activations[] = {FDL_ACTIVATIONS(FDL_ENTRY)};
#undef FDL_ENTRY

INLINE activation_scalars scalars_of(const double *own) {
    activation_scalars set;
    for (size_t i = 0; i < FDL_ACTIVATION_SCALARS; i++) set.s[i] = (T)own[i];
    return set;
}

/* y = act(x) */
static void activation_forward(const void *args, fdl_range range, const fdl_step *step, void *scratch) {
    const activation_forward_args *a = args;
    const T *x = a->x;
    T *y = a->y;
    (void)step, (void)scratch;
    for (size_t p = range.p0; p < range.p1; p++) {
        size_t at = (p * a->features + range.f0) * FDL_PANEL;
        activations[a->activation].forward(scalars_of(a->own), x + at, y + at, (range.f1 - range.f0) * FDL_PANEL);
    }
}

/* dx = dy act'(x) */
static void activation_backward(const void *args, fdl_range range, const fdl_step *step, void *scratch) {
    const activation_backward_args *a = args;
    const T *saved = a->saved, *dy = a->dy;
    T *dx = a->dx;
    (void)step, (void)scratch;
    for (size_t p = range.p0; p < range.p1; p++) {
        size_t at = (p * a->features + range.f0) * FDL_PANEL;
        activations[a->activation].backward(scalars_of(a->own), saved + at, dy + at, dx + at,
                                            (range.f1 - range.f0) * FDL_PANEL);
    }
}

#endif

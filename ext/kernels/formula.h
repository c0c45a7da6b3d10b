/* Formulas of one's own: any number of functions of arrays, element by element, in one pass over memory.
 *
 * A formula is a list of instructions on slots, which hold a block of a few features' panels each: inputs first, then
 * constants, then what instructions gave. A block is so small that all slots stay in the first cache, and so large that
 * reading an instruction costs next to nothing beside carrying it out: the loop of each function is as in a kernel of its own.
 *
 * An input whose features are not those of the result comes with a map: which of its features each of the result's reads.
 */
#ifndef FDL_KERNELS_FORMULA_H
#define FDL_KERNELS_FORMULA_H

#include <math.h>
#include <string.h>

#include "../kernels.h"
#include "../shared/panels.h"
#include "../shared/vec.h"
#include "../shared/vecmath.h"

#define FDL_BLOCK (8 * FDL_PANEL) /* elements in a slot */
_Static_assert(FDL_FORMULA_SLOTS * FDL_BLOCK * sizeof(T) <= FDL_SCRATCH, "the slots of a formula lie in a thread's scratch");

/* Comparisons give 1 and 0; each is false of NaN. */
INLINE V formula_add(V a, V b, UNUSED V c) { return a + b; }
INLINE V formula_subtract(V a, V b, UNUSED V c) { return a - b; }
INLINE V formula_multiply(V a, V b, UNUSED V c) { return a * b; }
INLINE V formula_divide(V a, V b, UNUSED V c) { return a / b; }
INLINE V formula_maximum(V a, V b, UNUSED V c) { return choose((a < b) | (b != b), b, a); }
INLINE V formula_minimum(V a, V b, UNUSED V c) { return choose((b < a) | (b != b), b, a); }
INLINE V formula_less(V a, V b, UNUSED V c) { return keep(a < b, splat(1)); }
INLINE V formula_less_equal(V a, V b, UNUSED V c) { return keep(a <= b, splat(1)); }
INLINE V formula_equal(V a, V b, UNUSED V c) { return keep(a == b, splat(1)); }
INLINE V formula_where(V a, V b, V c) { return choose(a != 0, b, c); }
INLINE V formula_negative(V a, UNUSED V b, UNUSED V c) { return -a; }
INLINE V formula_absolute(V a, UNUSED V b, UNUSED V c) { return magnitude_of(a); }
INLINE V formula_sign(V a, UNUSED V b, UNUSED V c) { return choose(a == a, sign(a), a); }
INLINE V formula_square(V a, UNUSED V b, UNUSED V c) { return a * a; }
INLINE V formula_sqrt(V a, UNUSED V b, UNUSED V c) { return square_root(a); }
INLINE V formula_exp(V a, UNUSED V b, UNUSED V c) { return vexp(a); }
INLINE V formula_log(V a, UNUSED V b, UNUSED V c) { return vlog(a); }
INLINE V formula_tanh(V a, UNUSED V b, UNUSED V c) { return vtanh(a); }
INLINE V formula_sigmoid(V a, UNUSED V b, UNUSED V c) { return vsigmoid(a); }
INLINE V formula_softplus(V a, UNUSED V b, UNUSED V c) { return keep(~(a < 0), a) + vlog1p(vexp(-magnitude_of(a))); }
INLINE V formula_relu(V a, UNUSED V b, UNUSED V c) { return keep(~(a < 0), a); }
INLINE V formula_sin(V a, UNUSED V b, UNUSED V c) { return vsin(a); }
INLINE V formula_cos(V a, UNUSED V b, UNUSED V c) { return vcos(a); }

/* exp(a) - 1: by its series near zero and below, where the difference would lose digits */
INLINE V formula_expm1(V a, UNUSED V b, UNUSED V c) {
    VI n;
    V r = exp_reduce(clamp(a, -60, 1), &n), power = power_of_two(n);
    V near = power * expm1_series(r) + (power - 1);
    return choose(a > 1, vexp(a) - 1, near);
}

/* log(1 + a): what rounding 1 + a loses is put back by a / (u - 1), u the rounded sum (Higham 2002, 1.14.1) */
INLINE V formula_log1p(V a, UNUSED V b, UNUSED V c) {
    V u = 1 + a, rest = u - 1;
    VI whole = (rest == 0) | (u > (T)1e30); /* nothing is left of a, or nothing is lost of it */
    return choose(rest == 0, a, vlog(u) * choose(whole, splat(1), a / choose(whole, splat(1), rest)));
}

/* The error function: its series near zero, one less the normal distribution's tails beyond (Abramowitz and Stegun 7.1) */
INLINE V formula_erf(V a, UNUSED V b, UNUSED V c) {
    const int terms = FDL_IS_F32 ? 8 : 15;
    V z = a * a, sum = splat(1), power = splat(1), tail;
    VI n;
    for (int k = 1; k <= terms; k++) { /* 1 - z / 3 + z^2 / (2! 5) - … */
        power *= -z / (T)k;
        sum += power / (T)(2 * k + 1);
    }
    V near = a * sum * (T)1.12837916709551257390;
    V e = normal_tail(a * (T)1.41421356237309504880, &n, &tail);
    V far = 1 - 2 * tail * scale_by(e + 1, n);
    far = choose(a < 0, -far, far);
    return choose(a != a, a, choose(magnitude_of(a) < (T)0.5, near, far));
}

/* The largest whole number that is not above a; beyond what has a fraction, a itself */
INLINE V formula_floor(V a, UNUSED V b, UNUSED V c) {
    VI whole = magnitude_of(a) >= (T)(FDL_IS_F32 ? 4194304.0 : 2251799813685248.0);
    return choose(whole | (a != a), a, round_down(choose(whole, splat(0), a)));
}

/* a to the power of b, by the C library: exp(b log a) would lose as many digits as the result has before its point */
INLINE V formula_power(V a, V b, UNUSED V c) {
    for (size_t i = 0; i < VL; i++) a[i] = (T)pow((double)a[i], (double)b[i]);
    return a;
}

/* A loop of its own for each function, by its number. Operands that it does not have are given as the first. */
typedef void (*formula_loop)(T *to, const T *a, const T *b, const T *c, size_t n);
#define FDL_LOOP(name, operands)                                                                       \
    static void name##_of_blocks(T *to, const T *a, const T *b, const T *c, size_t n) {                \
        for (size_t i = 0; i < n; i += VL)                                                             \
            store(to + i, formula_##name(load(a + i), operands > 1 ? load(b + i) : (V){0},             \
                                         operands > 2 ? load(c + i) : (V){0}));                        \
    }
FDL_FUNCTIONS(FDL_LOOP)
#undef FDL_LOOP
#define FDL_ENTRY(name, operands) name##_of_blocks,
static const formula_loop formula_loops[] = {FDL_FUNCTIONS(FDL_ENTRY)};
#undef FDL_ENTRY

/* What the features f .. f + m - 1 of panel p read of input i: where they lie, or a copy of them in `room`. */
INLINE const T *formula_input(const formula_args *a, size_t i, size_t p, size_t f, size_t m, T *room) {
    const T *x = (const T *)a->inputs[i] + p * a->widths[i] * FDL_PANEL;
    const int32_t *map = a->maps[i];
    if (!map) return x + f * FDL_PANEL;
    for (size_t j = 0; j < m; j++)
        memcpy(room + j * FDL_PANEL, x + (size_t)map[f + j] * FDL_PANEL, FDL_PANEL * sizeof(T));
    return room;
}

static void formula(const void *args, fdl_range range, const fdl_step *step, void *scratch) {
    const formula_args *a = args;
    const int32_t *code = a->code;
    const double *constants = a->constants;
    const size_t inputs = a->input_count, first = inputs + a->constant_count;
    T *slot[FDL_FORMULA_SLOTS + FDL_FORMULA_INPUTS], *y = a->y;
    for (size_t i = 0; i < a->slots; i++) slot[i] = (T *)scratch + i * FDL_BLOCK;
    for (size_t i = inputs; i < first; i++)
        for (size_t j = 0; j < FDL_BLOCK; j += VL) store(slot[i] + j, splat((T)constants[i - inputs]));
    for (size_t p = range.p0; p < range.p1; p++) {
        const size_t samples = samples_in(step->batch, p);
        for (size_t f = range.f0, m; f < range.f1; f += m) {
            m = range.f1 - f < FDL_BLOCK / FDL_PANEL ? range.f1 - f : FDL_BLOCK / FDL_PANEL;
            T *to = y + (p * a->features + f) * FDL_PANEL;
            for (size_t i = 0; i < inputs; i++)
                slot[i] = (T *)formula_input(a, i, p, f, m, (T *)scratch + i * FDL_BLOCK); /* never written to */
            for (const int32_t *at = code, *end = code + 5 * a->count; at < end; at += 5)
                formula_loops[at[0]](at + 5 == end ? to : slot[at[1]], slot[at[2]], slot[at[3]], slot[at[4]],
                                     m * FDL_PANEL);
            if (samples < FDL_PANEL) /* of idle lanes a logarithm or a quotient need not be finite */
                for (size_t j = 0; j < m; j++)
                    memset(to + j * FDL_PANEL + samples, 0, (FDL_PANEL - samples) * sizeof(T));
        }
    }
}

#endif

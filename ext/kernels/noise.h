/* Noise, element by element. A row of FDL_NOISES is two functions here: noise_… gives y of x and a random number,
 * through_… gives dx of dy and what its row reads. The backward pass draws the same numbers again, so none is stored.
 *
 * The FDL_PANEL samples of one feature are drawn at once: uniform in (0, 1) or standard normal. The numbers depend only on
 * seed, step, stream and the element's place, and are the same in both types except for rounding.
 */
#ifndef FDL_KERNELS_NOISE_H
#define FDL_KERNELS_NOISE_H

#include "../kernels.h"
#include "../shared/random.h"
#include "../shared/vec.h"

/* x + s0 r */
INLINE V noise_gaussian_noise(V x, V r, const T *s) { return x + s[0] * r; }
INLINE V through_gaussian_noise(UNUSED V none, V dy, UNUSED V r, UNUSED const T *s) { return dy; }

/* x (1 + s0 r) (Srivastava et al. 2014) */
INLINE V noise_gaussian_dropout(V x, V r, const T *s) { return x * (1 + s[0] * r); }
INLINE V through_gaussian_dropout(UNUSED V none, V dy, V r, const T *s) { return dy * (1 + s[0] * r); }

/* s1 x + s2, or s3 with probability s0 (Klambauer et al. 2017) */
INLINE V noise_alpha_dropout(V x, V r, const T *s) { return choose(r < s[0], splat(s[3]), s[1] * x + s[2]); }
INLINE V through_alpha_dropout(UNUSED V none, V dy, V r, const T *s) { return keep(~(r < s[0]), dy * s[1]); }

/* x, below 0 times a slope between s0 and s1 (Xu et al. 2015) */
INLINE V noise_rrelu(V x, V r, const T *s) { return choose(x < 0, x * (s[0] + (s[1] - s[0]) * r), x); }
INLINE V through_rrelu(V x, V dy, V r, const T *s) { return choose(x > 0, dy, dy * (s[0] + (s[1] - s[0]) * r)); }

/* The scalars, passed by value, so that stores cannot alias them. */
typedef struct {
    T s[FDL_NOISE_SCALARS];
} noise_scalars;

/* The two loops over one feature's samples in one panel: how numbers are drawn, and the formula, are inlined into them. */
INLINE void apply_noise(V (*noise)(V x, V r, const T *s), void (*draw)(T *to, const uint32_t *bits), const T *s,
                        const uint32_t *bits, const T *x, T *y) {
    _Alignas(64) T r[FDL_PANEL];
    draw(r, bits);
    for (size_t i = 0; i < FDL_PANEL; i += VL) store(y + i, noise(load(x + i), load(r + i), s));
}
INLINE void apply_through(V (*through)(V saved, V dy, V r, const T *s), void (*draw)(T *to, const uint32_t *bits),
                          const T *s, const uint32_t *bits, const T *saved, const T *dy, T *dx) {
    _Alignas(64) T r[FDL_PANEL];
    draw(r, bits);
    for (size_t i = 0; i < FDL_PANEL; i += VL) store(dx + i, through(load(saved + i), load(dy + i), load(r + i), s));
}

/* Both loops of each row, by the row's number. */
typedef struct {
    void (*forward)(noise_scalars set, const uint32_t *bits, const T *x, T *y);
    void (*backward)(noise_scalars set, const uint32_t *bits, const T *saved, const T *dy, T *dx);
} noise_loops;
#define FDL_LOOPS(name, draws, reads)                                                                          \
    static void name##_forward(noise_scalars set, const uint32_t *bits, const T *x, T *y) {                   \
        apply_noise(noise_##name, draw_##draws, set.s, bits, x, y);                                            \
    }                                                                                                          \
    static void name##_backward(noise_scalars set, const uint32_t *bits, const T *saved, const T *dy, T *dx) { \
        apply_through(through_##name, draw_##draws, set.s, bits, saved, dy, dx);                               \
    }
FDL_NOISES(FDL_LOOPS)
#undef FDL_LOOPS
#define FDL_ENTRY(name, draws, reads) {name##_forward, name##_backward},
static const noise_loops noises[] = {FDL_NOISES(FDL_ENTRY)};
#undef FDL_ENTRY

INLINE noise_scalars noise_scalars_of(const double *own) {
    noise_scalars set;
    for (size_t i = 0; i < FDL_NOISE_SCALARS; i++) set.s[i] = (T)own[i];
    return set;
}

/* The random words of the FDL_PANEL elements from number `at` on. */
INLINE void draw_bits(uint32_t *bits, size_t at, random_key key) {
    for (size_t i = 0; i < FDL_PANEL; i++) bits[i] = random_bits((uint32_t)(at + i), key);
}

static void noise_forward(const void *args, fdl_range range, const fdl_step *step, void *scratch) {
    const noise_forward_args *a = args;
    const T *x = a->x;
    T *y = a->y;
    const random_key key = key_of(step, a->stream);
    const noise_scalars set = noise_scalars_of(a->own);
    (void)scratch;
    for (size_t p = range.p0; p < range.p1; p++)
        for (size_t f = range.f0; f < range.f1; f++) {
            uint32_t bits[FDL_PANEL];
            size_t at = (p * a->features + f) * FDL_PANEL;
            draw_bits(bits, at, key);
            noises[a->noise].forward(set, bits, x + at, y + at);
        }
}

static void noise_backward(const void *args, fdl_range range, const fdl_step *step, void *scratch) {
    const noise_backward_args *a = args;
    const T *saved = a->saved, *dy = a->dy;
    T *dx = a->dx;
    const random_key key = key_of(step, a->stream);
    const noise_scalars set = noise_scalars_of(a->own);
    (void)scratch;
    for (size_t p = range.p0; p < range.p1; p++)
        for (size_t f = range.f0; f < range.f1; f++) {
            uint32_t bits[FDL_PANEL];
            size_t at = (p * a->features + f) * FDL_PANEL;
            draw_bits(bits, at, key);
            noises[a->noise].backward(set, bits, saved + at, dy + at, dx + at);
        }
}

#endif

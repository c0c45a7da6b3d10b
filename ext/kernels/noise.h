/* Noise, element by element. A row of FDL_NOISES is two functions here: noise_… gives y of x and a random number,
 * through_… gives dx of dy and what its row reads; backward draws the same number again, so that nothing is kept.
 *
 * A row's FDL_PANEL samples of one feature are drawn at once: uniform in (0, 1) or standard normal. The numbers depend
 * on seed, step, stream and the element's place alone, and are the same in both types but for rounding.
 */

/* Uniform: 31 bits and a half, so that neither end is reached but by rounding. */
INLINE void draw_uniform(T *to, const uint32_t *bits) {
    for (size_t i = 0; i < FDL_PANEL; i++) to[i] = ((T)(int32_t)(bits[i] >> 1) + (T)0.5) * (T)4.656612873077393e-10;
}

/* sin 2t and cos 2t for t in [-pi/2, pi/2], where Taylor's series do: cos 2t = 1 - 2 sin^2 t, sin 2t = 2 sin t cos t. */
INLINE void sine_cosine(V t, V *sine, V *cosine) {
    const int terms = FDL_IS_F32 ? 7 : 12;
    V z = t * t, s = splat(1), c = splat(1);
    for (int k = terms; k > 0; k--) {
        s = 1 - z * s / (T)(2 * k * (2 * k + 1));
        c = 1 - z * c / (T)(2 * k * (2 * k - 1));
    }
    s *= t;
    *sine = 2 * s * c;
    *cosine = 1 - 2 * s * s;
}

/* Standard normal (Box and Muller 1958): of two uniform numbers u, v both sqrt(-2 log u) cos 2 pi v and sin. */
INLINE void draw_normal(T *to, const uint32_t *bits) {
    const size_t half = FDL_PANEL / 2;
    draw_uniform(to, bits);
    for (size_t i = 0; i < half; i += VL) {
        V radius = square_root(-2 * vlog(load(to + i)));
        V sine, cosine;
        sine_cosine((load(to + half + i) - (T)0.5) * (T)3.14159265358979323846, &sine, &cosine);
        store(to + i, radius * cosine);
        store(to + half + i, radius * sine);
    }
}

#define FDL_NOISE(name) INLINE V noise_##name(V x, V r, const T *s)
#define FDL_THROUGH(name, reads) INLINE V through_##name(__attribute__((unused)) V reads, V dy, V r, const T *s)

/* x + s0 r */
FDL_NOISE(gaussian_noise) { return x + s[0] * r; }
FDL_THROUGH(gaussian_noise, none) {
    (void)r, (void)s;
    return dy;
}

/* x (1 + s0 r) (Srivastava et al. 2014) */
FDL_NOISE(gaussian_dropout) { return x * (1 + s[0] * r); }
FDL_THROUGH(gaussian_dropout, none) { return dy * (1 + s[0] * r); }

/* s1 x + s2, or s3 with probability s0 (Klambauer et al. 2017) */
FDL_NOISE(alpha_dropout) { return choose(r < s[0], splat(s[3]), s[1] * x + s[2]); }
FDL_THROUGH(alpha_dropout, none) { return keep(~(r < s[0]), dy * s[1]); }

/* x, below 0 times a slope between s0 and s1 (Xu et al. 2015) */
FDL_NOISE(rrelu) { return choose(x < 0, x * (s[0] + (s[1] - s[0]) * r), x); }
FDL_THROUGH(rrelu, x) { return choose(x > 0, dy, dy * (s[0] + (s[1] - s[0]) * r)); }

/* The two loops of each row over one feature's samples in one panel. */
typedef struct {
    T s[FDL_NOISE_SCALARS];
} noise_scalars;
typedef struct {
    void (*forward)(noise_scalars set, const uint32_t *bits, const T *x, T *y);
    void (*backward)(noise_scalars set, const uint32_t *bits, const T *saved, const T *dy, T *dx);
} noise_loops;
#define FDL_LOOPS(name, draws, reads)                                                                              \
    static void name##_forward(noise_scalars set, const uint32_t *bits, const T *x, T *y) {                       \
        _Alignas(64) T r[FDL_PANEL];                                                                               \
        draw_##draws(r, bits);                                                                                     \
        for (size_t i = 0; i < FDL_PANEL; i += VL) store(y + i, noise_##name(load(x + i), load(r + i), set.s));    \
    }                                                                                                              \
    static void name##_backward(noise_scalars set, const uint32_t *bits, const T *saved, const T *dy, T *dx) {     \
        _Alignas(64) T r[FDL_PANEL];                                                                               \
        draw_##draws(r, bits);                                                                                     \
        for (size_t i = 0; i < FDL_PANEL; i += VL)                                                                 \
            store(dx + i, through_##name(load(saved + i), load(dy + i), load(r + i), set.s));                      \
    }
FDL_NOISES(FDL_LOOPS)
#undef FDL_LOOPS
#define FDL_ENTRY(name, draws, reads) {name##_forward, name##_backward},
static const noise_loops noises[] = {FDL_NOISES(FDL_ENTRY)};
#undef FDL_ENTRY

/* Runs BODY for each feature of each panel: `at` is its offset into (P, F, 32), `bits` its FDL_PANEL random words. */
#define FDL_FOR_DRAWS(...)                                                                     \
    const random_key key = key_of(step, a->stream);                                            \
    noise_scalars set;                                                                         \
    (void)scratch;                                                                             \
    for (size_t i = 0; i < FDL_NOISE_SCALARS; i++) set.s[i] = (T)a->own[i];                    \
    for (size_t p = range.p0; p < range.p1; p++)                                               \
        for (size_t f = range.f0; f < range.f1; f++) {                                         \
            uint32_t bits[FDL_PANEL];                                                          \
            size_t at = (p * a->features + f) * FDL_PANEL;                                     \
            for (size_t i = 0; i < FDL_PANEL; i++) bits[i] = random_bits((uint32_t)(at + i), key); \
            __VA_ARGS__                                                                        \
        }

static void noise_forward(const void *args, fdl_range range, const fdl_step *step, void *scratch) {
    const noise_forward_args *a = args;
    const T *x = a->x;
    T *y = a->y;
    FDL_FOR_DRAWS(noises[a->noise].forward(set, bits, x + at, y + at);)
}

static void noise_backward(const void *args, fdl_range range, const fdl_step *step, void *scratch) {
    const noise_backward_args *a = args;
    const T *saved = a->saved, *dy = a->dy;
    T *dx = a->dx;
    FDL_FOR_DRAWS(noises[a->noise].backward(set, bits, saved + at, dy + at, dx + at);)
}

/* PReLU (He et al. 2015): the slope below zero is trained, one a feature. */

/* y = x, below 0 alpha x */
static void prelu_forward(const void *args, fdl_range range, const fdl_step *step, void *scratch) {
    const prelu_forward_args *a = args;
    const T *x = a->x, *alpha = a->alpha;
    T *y = a->y;
    size_t n = a->features;
    (void)step, (void)scratch;
    for (size_t p = range.p0; p < range.p1; p++)
        for (size_t f = range.f0; f < range.f1; f++) {
            size_t at = (p * n + f) * FDL_PANEL;
            for (size_t i = at; i < at + FDL_PANEL; i += VL) {
                V v = load(x + i);
                store(y + i, choose(v < 0, v * alpha[f], v));
            }
        }
}

/* One block of prelu_backward: features [f, f + m). */
INLINE void prelu_block(const prelu_backward_args *a, size_t f, size_t m, const fdl_step *step) {
    const T *x = a->x, *dy = a->dy, *alpha = a->alpha;
    T *dx = a->dx, *dalpha = a->dalpha;
    size_t n = a->features;
    V sum[VL] = {{0}};
    if (dalpha) {
        FDL_FOR_BLOCK(n, f, m, { sum[j] += keep(load(x + i) < 0, load(x + i) * load(dy + i)); },
                      { sum[j] += keep(in_batch & (load(x + i) < 0), load(x + i) * load(dy + i)); })
        store(dalpha + f, sum_rows(sum));
    }
    if (!dx) return;
    FDL_FOR_FEATURES(n, f, m, V slope = splat(alpha[f + j]);,
                     { store(dx + i, choose(load(x + i) > 0, load(dy + i), load(dy + i) * slope)); })
}

/* dx = dy, below 0 alpha dy; dalpha = the sum of x dy over the samples below 0 */
static void prelu_backward(const void *args, fdl_range range, const fdl_step *step, void *scratch) {
    const prelu_backward_args *a = args;
    (void)scratch;
#define BLOCK(f, m) prelu_block(a, f, m, step)
    FDL_FOR_BLOCKS(BLOCK, range.f0, range.f1);
#undef BLOCK
}

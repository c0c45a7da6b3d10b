/* The logarithm of softmax, for each sample over its features. */

/* y = x - max - log of the sum of exp(x - max) */
static void log_softmax_forward(const fdl_args *a, fdl_range range, const fdl_step *step, void *scratch) {
    const T *x = a->p[0];
    T *y = a->p[1];
    size_t n = a->n[0];
    (void)scratch;
    FDL_FOR_LANES(n, {
        V top = largest(x + at, n), sum = {0};
        (void)samples;
        for (size_t f = 0; f < n; f++) sum += vexp(load(x + at + f * FDL_PANEL) - top);
        V level = vlog(sum);
        for (size_t f = 0; f < n; f++) store(y + at + f * FDL_PANEL, load(x + at + f * FDL_PANEL) - top - level);
    })
}

/* dx = dy - exp(y) sum dy */
static void log_softmax_backward(const fdl_args *a, fdl_range range, const fdl_step *step, void *scratch) {
    const T *y = a->p[0], *dy = a->p[1];
    T *dx = a->p[2];
    size_t n = a->n[0];
    (void)scratch;
    FDL_FOR_LANES(n, {
        V sum = {0};
        (void)samples;
        for (size_t f = 0; f < n; f++) sum += load(dy + at + f * FDL_PANEL);
        for (size_t f = 0; f < n; f++)
            store(dx + at + f * FDL_PANEL, load(dy + at + f * FDL_PANEL) - vexp(load(y + at + f * FDL_PANEL)) * sum);
    })
}

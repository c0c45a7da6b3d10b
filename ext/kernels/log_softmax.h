/* The logarithm of softmax, for each sample over its features. */

/* y = x - max - log of the sum of exp(x - max) */
static void log_softmax_forward(const void *args, fdl_range range, const fdl_step *step, void *scratch) {
    const log_softmax_forward_args *a = args;
    const T *x = a->x;
    T *y = a->y;
    size_t n = a->features;
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
static void log_softmax_backward(const void *args, fdl_range range, const fdl_step *step, void *scratch) {
    const log_softmax_backward_args *a = args;
    const T *y = a->y, *dy = a->dy;
    T *dx = a->dx;
    size_t n = a->features;
    (void)scratch;
    FDL_FOR_LANES(n, {
        V sum = {0};
        (void)samples;
        for (size_t f = 0; f < n; f++) sum += load(dy + at + f * FDL_PANEL);
        for (size_t f = 0; f < n; f++)
            store(dx + at + f * FDL_PANEL, load(dy + at + f * FDL_PANEL) - vexp(load(y + at + f * FDL_PANEL)) * sum);
    })
}

/* Sums and products of whole arrays, and features from one array to another: what branches of a network meet in. */

/* y = alpha a + beta b; without b, alpha a */
static void add(const fdl_args *a, fdl_range range, const fdl_step *step, void *scratch) {
    const T *first = a->p[0], *second = a->p[1];
    T *y = a->p[2], alpha = (T)a->s[0], beta = (T)a->s[1];
    (void)step, (void)scratch;
    if (second)
        FDL_FOR_VECTORS(a->n[0], { store(y + i, alpha * load(first + i) + beta * load(second + i)); })
    else
        FDL_FOR_VECTORS(a->n[0], { store(y + i, alpha * load(first + i)); })
}

/* y = a b */
static void multiply(const fdl_args *a, fdl_range range, const fdl_step *step, void *scratch) {
    const T *first = a->p[0], *second = a->p[1];
    T *y = a->p[2];
    (void)step, (void)scratch;
    FDL_FOR_VECTORS(a->n[0], { store(y + i, load(first + i) * load(second + i)); })
}

/* y's features from the second offset on = x's from the first on */
static void copy_features(const fdl_args *a, fdl_range range, const fdl_step *step, void *scratch) {
    const T *x = a->p[0];
    T *y = a->p[1];
    (void)step, (void)scratch;
    for (size_t p = range.p0; p < range.p1; p++)
        memcpy(y + (p * a->n[2] + a->n[3] + range.f0) * FDL_PANEL, x + (p * a->n[0] + a->n[1] + range.f0) * FDL_PANEL,
               (range.f1 - range.f0) * FDL_PANEL * sizeof(T));
}

/* y = x + b */
static void add_bias(const fdl_args *a, fdl_range range, const fdl_step *step, void *scratch) {
    const T *x = a->p[0], *b = a->p[1];
    T *y = a->p[2];
    size_t n = a->n[0];
    (void)step, (void)scratch;
    for (size_t p = range.p0; p < range.p1; p++)
        for (size_t f = range.f0; f < range.f1; f++) {
            size_t at = (p * n + f) * FDL_PANEL;
            for (size_t i = at; i < at + FDL_PANEL; i += VL) store(y + i, load(x + i) + b[f]);
        }
}

/* One block of bias_grad: features [f, f + m). */
INLINE void bias_block(const fdl_args *a, size_t f, size_t m, const fdl_step *step) {
    const T *dy = a->p[0];
    size_t n = a->n[0];
    V sum[VL] = {{0}};
    FDL_FOR_BLOCK(n, f, m, { sum[j] += load(dy + i); }, { sum[j] += keep(in_batch, load(dy + i)); })
    store((T *)a->p[1] + f, sum_rows(sum));
}

/* db = the sum of dy over the samples */
static void bias_grad(const fdl_args *a, fdl_range range, const fdl_step *step, void *scratch) {
    (void)scratch;
#define BLOCK(f, m) bias_block(a, f, m, step)
    FDL_FOR_BLOCKS(BLOCK, range.f0, range.f1);
#undef BLOCK
}

/* total += part, element by element: the gradients of a parameter that several layers read */
static void add_weights(const fdl_args *a, fdl_range range, const fdl_step *step, void *scratch) {
    const T *part = a->p[0];
    T *total = a->p[1];
    (void)step, (void)scratch;
    for (size_t i = range.f0; i < range.f1; i += VL) store(total + i, load(total + i) + load(part + i));
}

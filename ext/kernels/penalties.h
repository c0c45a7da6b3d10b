/* Penalties on weights and activities, and constraints of weights. Parts are summed in double, each in an order of its
 * own, so that results do not depend on who computes what. */

/* The slope of l1 |w| + l2 w^2, zero where w is. */
INLINE V penalty_slope(V w, T l1, T l2) { return l1 * sign(w) + 2 * l2 * w; }

/* part = the penalty of each unit of columns */
static void weight_penalty(const void *args, fdl_range range, const fdl_step *step, void *scratch) {
    const weight_penalty_args *a = args;
    const T *w = a->w;
    double *part = a->part;
    size_t k = a->inputs, n = a->outputs;
    (void)step, (void)scratch;
    for (size_t f = range.f0; f < range.f1; f += FDL_UNIT) {
        const T *from = w + column(k, f);
        double sum[FDL_UNIT] = {0};
        for (size_t row = 0; row < k; row++)
            for (size_t i = 0; i < FDL_UNIT; i++) {
                double x = (double)from[row * FDL_STRIP + i];
                sum[i] += a->l1 * __builtin_fabs(x) + a->l2 * x * x;
            }
        part[f / FDL_UNIT] = 0;
        for (size_t i = 0; i < FDL_UNIT && f + i < n; i++) part[f / FDL_UNIT] += sum[i];
    }
}

/* part = the penalty of each panel's samples */
static void activity_penalty(const void *args, fdl_range range, const fdl_step *step, void *scratch) {
    const activity_penalty_args *a = args;
    const T *x = a->x;
    double *part = a->part;
    size_t n = a->features;
    (void)scratch;
    for (size_t p = range.p0; p < range.p1; p++) {
        double sum[FDL_PANEL] = {0};
        for (size_t f = 0; f < n; f++)
            for (size_t i = 0; i < FDL_PANEL; i++) {
                double v = (double)x[(p * n + f) * FDL_PANEL + i];
                sum[i] += a->l1 * __builtin_fabs(v) + a->l2 * v * v;
            }
        part[p] = 0;
        for (size_t i = 0, samples = samples_in(step->batch, p); i < samples && i < FDL_PANEL; i++) part[p] += sum[i];
    }
}

/* dx = slope of the penalty / B */
static void activity_penalty_grad(const void *args, fdl_range range, const fdl_step *step, void *scratch) {
    const activity_penalty_grad_args *a = args;
    const T *x = a->x;
    T *dx = a->dx;
    const T l1 = (T)(a->l1 / (double)step->batch), l2 = (T)(a->l2 / (double)step->batch);
    size_t n = a->features;
    (void)scratch;
    for (size_t p = range.p0; p < range.p1; p++)
        for (size_t f = range.f0; f < range.f1; f++)
            for (size_t at = (p * n + f) * FDL_PANEL, i = at; i < at + FDL_PANEL; i += VL)
                store(dx + i, penalty_slope(load(x + i), l1, l2));
}

/* By how much weights of this norm are to be multiplied. */
INLINE T norm_factor(const limit_norm_args *a, double squares) {
    double norm = __builtin_sqrt(squares), wanted = norm < a->least ? a->least : norm > a->most ? a->most : norm;
    return (T)((a->rate * wanted + (1 - a->rate) * norm) / (norm + 1e-7)); /* Keras's epsilon */
}

/* The norm of rows [r0, r1) as one. */
INLINE void limit_rows(T *w, size_t k, size_t n, size_t r0, size_t r1, const limit_norm_args *a) {
    double squares = 0;
    for (size_t f = 0; f < n; f++)
        for (size_t row = r0; row < r1; row++) {
            double x = (double)w[column(k, f) + row * FDL_STRIP];
            squares += x * x;
        }
    const T by = norm_factor(a, squares);
    for (size_t f = 0; f < n; f++)
        for (size_t row = r0; row < r1; row++) w[column(k, f) + row * FDL_STRIP] *= by;
}

/* w times norm_factor: of each column, of each row, or of all. */
static void limit_norm(const void *args, fdl_range range, const fdl_step *step, void *scratch) {
    const limit_norm_args *a = args;
    T *w = a->w;
    size_t k = a->inputs, n = a->outputs;
    (void)step, (void)scratch;
    if (a->norm_of == FDL_NORM_ALL) limit_rows(w, k, n, 0, k, a);
    if (a->norm_of == FDL_NORM_ROWS)
        for (size_t row = range.f0; row < range.f1; row++) limit_rows(w, k, n, row, row + 1, a);
    if (a->norm_of == FDL_NORM_COLUMNS)
        for (size_t f = range.f0; f < range.f1; f += FDL_UNIT) {
            T *from = w + column(k, f), by[FDL_UNIT];
            double sum[FDL_UNIT] = {0};
            for (size_t row = 0; row < k; row++)
                for (size_t i = 0; i < FDL_UNIT; i++)
                    sum[i] += (double)from[row * FDL_STRIP + i] * (double)from[row * FDL_STRIP + i];
            for (size_t i = 0; i < FDL_UNIT; i++) by[i] = f + i < n ? norm_factor(a, sum[i]) : 1;
            for (size_t row = 0; row < k; row++)
                for (size_t i = 0; i < FDL_UNIT; i++) from[row * FDL_STRIP + i] *= by[i];
        }
}

/* w = max(w, 0), NaN kept */
static void not_negative(const void *args, fdl_range range, const fdl_step *step, void *scratch) {
    const not_negative_args *a = args;
    T *w = a->w;
    (void)step, (void)scratch;
    for (size_t i = range.f0; i < range.f1; i += VL) store(w + i, larger(load(w + i), (V){0}));
}

/* Penalties on weights and activities, and constraints of weights. Parts are summed in double, each in an order of its
 * own, so that results do not depend on who computes what. */

/* The slope of l1 |w| + l2 w^2, zero where w is. */
INLINE V penalty_slope(V w, T l1, T l2) { return l1 * sign(w) + 2 * l2 * w; }

/* part = the penalty of each unit of columns */
static void weight_penalty(const fdl_args *a, fdl_range range, const fdl_step *step, void *scratch) {
    const T *w = a->p[0];
    double *part = a->p[1];
    size_t k = a->n[0], n = a->n[1];
    (void)step, (void)scratch;
    for (size_t f = range.f0; f < range.f1; f += FDL_UNIT) {
        const T *from = w + column(k, f);
        double sum[FDL_UNIT] = {0};
        for (size_t row = 0; row < k; row++)
            for (size_t i = 0; i < FDL_UNIT; i++) {
                double x = (double)from[row * FDL_STRIP + i];
                sum[i] += a->s[0] * __builtin_fabs(x) + a->s[1] * x * x;
            }
        part[f / FDL_UNIT] = 0;
        for (size_t i = 0; i < FDL_UNIT && f + i < n; i++) part[f / FDL_UNIT] += sum[i];
    }
}

/* part = the penalty of each panel's samples */
static void activity_penalty(const fdl_args *a, fdl_range range, const fdl_step *step, void *scratch) {
    const T *x = a->p[0];
    double *part = a->p[1];
    size_t n = a->n[0];
    (void)scratch;
    for (size_t p = range.p0; p < range.p1; p++) {
        double sum[FDL_PANEL] = {0};
        for (size_t f = 0; f < n; f++)
            for (size_t i = 0; i < FDL_PANEL; i++) {
                double v = (double)x[(p * n + f) * FDL_PANEL + i];
                sum[i] += a->s[0] * __builtin_fabs(v) + a->s[1] * v * v;
            }
        part[p] = 0;
        for (size_t i = 0, samples = samples_in(step->batch, p); i < samples && i < FDL_PANEL; i++) part[p] += sum[i];
    }
}

/* dx = slope of the penalty / B */
static void activity_penalty_grad(const fdl_args *a, fdl_range range, const fdl_step *step, void *scratch) {
    const T *x = a->p[0];
    T *dx = a->p[1];
    const T l1 = (T)(a->s[0] / (double)step->batch), l2 = (T)(a->s[1] / (double)step->batch);
    size_t n = a->n[0];
    (void)scratch;
    for (size_t p = range.p0; p < range.p1; p++)
        for (size_t f = range.f0; f < range.f1; f++)
            for (size_t at = (p * n + f) * FDL_PANEL, i = at; i < at + FDL_PANEL; i += VL)
                store(dx + i, penalty_slope(load(x + i), l1, l2));
}

/* By how much weights of this norm are to be multiplied. s: min, max, rate */
INLINE T norm_factor(const double *s, double squares) {
    double norm = __builtin_sqrt(squares), wanted = norm < s[0] ? s[0] : norm > s[1] ? s[1] : norm;
    return (T)((s[2] * wanted + (1 - s[2]) * norm) / (norm + 1e-7)); /* Keras's epsilon */
}

/* The norm of rows [r0, r1) as one. */
INLINE void limit_rows(T *w, size_t k, size_t n, size_t r0, size_t r1, const double *s) {
    double squares = 0;
    for (size_t f = 0; f < n; f++)
        for (size_t row = r0; row < r1; row++) {
            double x = (double)w[column(k, f) + row * FDL_STRIP];
            squares += x * x;
        }
    const T by = norm_factor(s, squares);
    for (size_t f = 0; f < n; f++)
        for (size_t row = r0; row < r1; row++) w[column(k, f) + row * FDL_STRIP] *= by;
}

/* w times norm_factor: of each column, of each row, or of all. */
static void limit_norm(const fdl_args *a, fdl_range range, const fdl_step *step, void *scratch) {
    T *w = a->p[0];
    size_t k = a->n[0], n = a->n[1];
    (void)step, (void)scratch;
    if (a->n[2] == FDL_NORM_ALL) limit_rows(w, k, n, 0, k, a->s);
    if (a->n[2] == FDL_NORM_ROWS)
        for (size_t row = range.f0; row < range.f1; row++) limit_rows(w, k, n, row, row + 1, a->s);
    if (a->n[2] == FDL_NORM_COLUMNS)
        for (size_t f = range.f0; f < range.f1; f += FDL_UNIT) {
            T *from = w + column(k, f), by[FDL_UNIT];
            double sum[FDL_UNIT] = {0};
            for (size_t row = 0; row < k; row++)
                for (size_t i = 0; i < FDL_UNIT; i++)
                    sum[i] += (double)from[row * FDL_STRIP + i] * (double)from[row * FDL_STRIP + i];
            for (size_t i = 0; i < FDL_UNIT; i++) by[i] = f + i < n ? norm_factor(a->s, sum[i]) : 1;
            for (size_t row = 0; row < k; row++)
                for (size_t i = 0; i < FDL_UNIT; i++) from[row * FDL_STRIP + i] *= by[i];
        }
}

/* w = max(w, 0), NaN kept */
static void not_negative(const fdl_args *a, fdl_range range, const fdl_step *step, void *scratch) {
    T *w = a->p[0];
    (void)step, (void)scratch;
    for (size_t i = range.f0; i < range.f1; i += VL) store(w + i, larger(load(w + i), (V){0}));
}

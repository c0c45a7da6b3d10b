/* Batch normalization (Ioffe and Szegedy 2015) with Keras's conventions: biased variance, in the moving average too.
 *
 * VL features at a time: each has a vector of partial sums over its samples, which `sum_rows` turns into one
 * vector with a feature a lane, so that means, roots and moving averages are vector operations too. The batch's
 * idle lanes are masked out of the sums. Variance in two passes: the values are in the cache, and one pass
 * cancels badly.
 */

/* For each vector of samples of the batch and each of `count` features from `first`: BODY with `j` the feature's
 * number in the block and `i` the vector's offset. MASKED: `in_batch` tells its lanes of the batch. */
#define FDL_FOR_BLOCK(features, first, count, BODY, MASKED)                                          \
    for (size_t p_ = 0; p_ * FDL_PANEL < step->batch; p_++) {                                        \
        size_t samples_ = samples_in(step->batch, p_), at_ = (p_ * (features) + (first)) * FDL_PANEL; \
        size_t lane_ = 0;                                                                            \
        for (; lane_ + VL <= samples_; lane_ += VL)                                                  \
            _Pragma("GCC unroll 16") for (size_t j = 0; j < (count); j++) {                                                   \
                size_t i = at_ + j * FDL_PANEL + lane_;                                              \
                BODY                                                                                 \
            }                                                                                        \
        if (lane_ < samples_) {                                                                      \
            const VI in_batch = lanes_below(lane_, samples_);                                        \
            _Pragma("GCC unroll 16") for (size_t j = 0; j < (count); j++) {                                                   \
                size_t i = at_ + j * FDL_PANEL + lane_;                                              \
                MASKED                                                                               \
            }                                                                                        \
        }                                                                                            \
    }

/* One block of batch_norm_train; `full` is a constant, so that full blocks keep their sums in registers. */
INLINE void normalize_block(const fdl_args *a, size_t f, size_t m, const fdl_step *step) {
    const T *x = a->p[0], *gamma = a->p[2], *beta = a->p[3];
    T *y = a->p[1], *moving_mean = a->p[4], *moving_variance = a->p[5], *mean_out = a->p[6], *inv_out = a->p[7];
    size_t n = a->n[0];
    int relu = a->n[1] == FDL_RELU;
    T momentum = (T)a->s[0], epsilon = (T)a->s[1], count = (T)step->batch;
    V sum[VL] = {{0}}, square[VL] = {{0}};
    T centre[VL], scale[VL], shift[VL];
    FDL_FOR_BLOCK(n, f, m, { sum[j] += load(x + i); }, { sum[j] += keep(in_batch, load(x + i)); })
    V mean = sum_rows(sum) / count;
    storeu(centre, mean);
    FDL_FOR_BLOCK(n, f, m, { V d = load(x + i) - centre[j]; square[j] += d * d; },
                  { V d = keep(in_batch, load(x + i) - centre[j]); square[j] += d * d; })
    V variance = sum_rows(square) / count, inv = 1 / square_root(variance + epsilon);
    V factor = inv, offset = {0};
    if (gamma) factor *= load(gamma + f);
    if (beta) offset = load(beta + f);
    storeu(scale, factor);
    storeu(shift, offset);
#define FDL_STORE                                                                                              \
    V v = (load(x + i) - centre[j]) * scale[j] + shift[j];                                                     \
    store(y + i, relu ? keep(~(v < 0), v) : v);
    FDL_FOR_BLOCK(n, f, m, { FDL_STORE }, { (void)in_batch; FDL_STORE })
#undef FDL_STORE
    store(mean_out + f, mean);
    store(inv_out + f, inv);
    if (!moving_mean) return;
    store(moving_mean + f, load(moving_mean + f) * momentum + mean * (1 - momentum));
    store(moving_variance + f, load(moving_variance + f) * momentum + variance * (1 - momentum));
}

/* y = act((x - mean) inv gamma + beta), and moving = momentum moving + (1 - momentum) statistic */
static void batch_norm_train(const fdl_args *a, fdl_range range, const fdl_step *step, void *scratch) {
    (void)scratch;
    for (size_t f = range.f0; f < range.f1; f += VL) {
        if (f + VL <= range.f1) normalize_block(a, f, VL, step);
        else normalize_block(a, f, range.f1 - f, step);
    }
}

/* y = act((x - moving mean) gamma / sqrt(moving variance + epsilon) + beta) */
static void batch_norm_infer(const fdl_args *a, fdl_range range, const fdl_step *step, void *scratch) {
    const T *x = a->p[0], *gamma = a->p[2], *beta = a->p[3], *mean = a->p[4], *variance = a->p[5];
    T *y = a->p[1];
    size_t n = a->n[0];
    int relu = a->n[1] == FDL_RELU;
    T epsilon = (T)a->s[0];
    (void)step, (void)scratch;
    for (size_t p = range.p0; p < range.p1; p++)
        for (size_t f = range.f0; f < range.f1; f++) {
            T scale = (gamma ? gamma[f] : 1) / FDL_SQRT(variance[f] + epsilon), shift = beta ? beta[f] : 0;
            size_t at = (p * n + f) * FDL_PANEL;
            for (size_t i = at; i < at + FDL_PANEL; i += VL) {
                V v = (load(x + i) - mean[f]) * scale + shift;
                store(y + i, relu ? keep(~(v < 0), v) : v);
            }
        }
}

/* One block of batch_norm_backward. y, if given, is the output of the ReLU behind: dy counts where it is positive. */
INLINE void gradient_block(const fdl_args *a, size_t f, size_t m, const fdl_step *step) {
    const T *x = a->p[0], *dy = a->p[1], *gamma = a->p[3], *mean = a->p[4], *inv = a->p[5], *y = a->p[8];
    T *dx = a->p[2], *dgamma = a->p[6], *dbeta = a->p[7];
    size_t n = a->n[0];
    T count = (T)step->batch;
    V sum[VL] = {{0}}, dot[VL] = {{0}};
    T slope[VL], of_x[VL], of_one[VL];
#define FDL_DY(i) (y ? keep(load(y + (i)) > 0, load(dy + (i))) : load(dy + (i)))
    FDL_FOR_BLOCK(n, f, m, { sum[j] += FDL_DY(i); }, { sum[j] += keep(in_batch, FDL_DY(i)); })
    FDL_FOR_BLOCK(n, f, m, { dot[j] += FDL_DY(i) * (load(x + i) - mean[f + j]); },
                  { dot[j] += keep(in_batch, FDL_DY(i) * (load(x + i) - mean[f + j])); })
    V s = load(inv + f), total = sum_rows(sum), product = sum_rows(dot) * s, factor = s;
    if (gamma) factor *= load(gamma + f);
    if (dgamma) store(dgamma + f, product);
    if (dbeta) store(dbeta + f, total);
    if (!dx) return;
    storeu(slope, factor);
    storeu(of_x, product / count * s);
    storeu(of_one, total / count);
#define FDL_STORE store(dx + i, (FDL_DY(i) - of_one[j] - (load(x + i) - mean[f + j]) * of_x[j]) * slope[j]);
    FDL_FOR_BLOCK(n, f, m, { FDL_STORE }, { (void)in_batch; FDL_STORE })
#undef FDL_STORE
#undef FDL_DY
}

/* dbeta = sum dy, dgamma = sum dy xhat, dx = gamma inv (dy - dbeta / B - xhat dgamma / B) */
static void batch_norm_backward(const fdl_args *a, fdl_range range, const fdl_step *step, void *scratch) {
    (void)scratch;
    for (size_t f = range.f0; f < range.f1; f += VL) {
        if (f + VL <= range.f1) gradient_block(a, f, VL, step);
        else gradient_block(a, f, range.f1 - f, step);
    }
}

/* dx = dy gamma / sqrt(moving variance + epsilon): a frozen layer only scales. y as in batch_norm_backward. */
static void batch_norm_infer_backward(const fdl_args *a, fdl_range range, const fdl_step *step, void *scratch) {
    const T *dy = a->p[0], *gamma = a->p[2], *variance = a->p[3], *y = a->p[4];
    T *dx = a->p[1];
    size_t n = a->n[0];
    T epsilon = (T)a->s[0];
    (void)step, (void)scratch;
    for (size_t p = range.p0; p < range.p1; p++)
        for (size_t f = range.f0; f < range.f1; f++) {
            T scale = (gamma ? gamma[f] : 1) / FDL_SQRT(variance[f] + epsilon);
            size_t at = (p * n + f) * FDL_PANEL;
            for (size_t i = at; i < at + FDL_PANEL; i += VL) {
                V g = load(dy + i) * scale;
                store(dx + i, y ? keep(load(y + i) > 0, g) : g);
            }
        }
}

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

/* For each vector of each feature, those of idle lanes too: the last argument, after SETUP once a feature. */
#define FDL_FOR_FEATURES(features, first, count, SETUP, ...)                               \
    for (size_t p_ = 0; p_ * FDL_PANEL < step->batch; p_++)                                \
        for (size_t j = 0; j < (count); j++) {                                             \
            size_t at_ = (p_ * (features) + (first) + j) * FDL_PANEL;                      \
            size_t end_ = at_ + vectors_for(samples_in(step->batch, p_)) * VL;             \
            SETUP                                                                          \
            for (size_t i = at_; i < end_; i += VL) { __VA_ARGS__ }                        \
        }

/* Runs BLOCK(f, m) for the blocks of features [f0, f1); `m` is a constant for full ones, whose sums stay in registers. */
#define FDL_FOR_BLOCKS(BLOCK, f0, f1)                       \
    do {                                                    \
        size_t f_ = (f0);                                   \
        for (; f_ + VL <= (f1); f_ += VL) { BLOCK(f_, VL); } \
        if (f_ < (f1)) { BLOCK(f_, (f1) - f_); }            \
    } while (0)

/* Blocks that go through one pass before the next begins: they overlap where one alone would wait for sums, roots and
 * divisions. As many as stay in the first-level cache meanwhile. */
INLINE size_t blocks_at_once(size_t batch) { return batch <= 2 * FDL_PANEL ? 4 * VL : VL; }

INLINE void mean_of_block(const batch_norm_train_args *a, size_t f, size_t m, const fdl_step *step) {
    const T *x = a->x;
    size_t n = a->features;
    V sum[VL] = {{0}};
    FDL_FOR_BLOCK(n, f, m, { sum[j] += load(x + i); }, { sum[j] += keep(in_batch, load(x + i)); })
    store((T *)a->mean + f, sum_rows(sum) / (T)step->batch);
}

INLINE void variance_of_block(const batch_norm_train_args *a, size_t f, size_t m, const fdl_step *step) {
    const T *x = a->x, *mean = a->mean;
    T *moving_mean = a->moving_mean, *moving_variance = a->moving_variance, *inv = a->inv;
    size_t n = a->features;
    T momentum = (T)a->momentum, epsilon = (T)a->epsilon;
    V square[VL] = {{0}};
    FDL_FOR_BLOCK(n, f, m, { V d = load(x + i) - mean[f + j]; square[j] += d * d; },
                  { V d = keep(in_batch, load(x + i) - mean[f + j]); square[j] += d * d; })
    V variance = sum_rows(square) / (T)step->batch;
    store(inv + f, 1 / square_root(variance + epsilon));
    if (!moving_mean) return;
    store(moving_mean + f, load(moving_mean + f) * momentum + load(mean + f) * (1 - momentum));
    store(moving_variance + f, load(moving_variance + f) * momentum + variance * (1 - momentum));
}

INLINE void normalize_block(const batch_norm_train_args *a, size_t f, size_t m, const fdl_step *step) {
    const T *x = a->x, *gamma = a->gamma, *beta = a->beta, *mean = a->mean, *inv = a->inv;
    T *y = a->y, scale[VL], shift[VL];
    size_t n = a->features;
    int relu = a->act == FDL_RELU;
    V factor = load(inv + f), offset = {0};
    if (gamma) factor *= load(gamma + f);
    if (beta) offset = load(beta + f);
    storeu(scale, factor);
    storeu(shift, offset);
    FDL_FOR_FEATURES(n, f, m, V centre = splat(mean[f + j]); V by = splat(scale[j]); V to = splat(shift[j]);, {
        V v = (load(x + i) - centre) * by + to;
        store(y + i, relu ? keep(~(v < 0), v) : v);
    })
}

/* y = act((x - mean) inv gamma + beta), and moving = momentum moving + (1 - momentum) statistic */
static void batch_norm_train(const void *args, fdl_range range, const fdl_step *step, void *scratch) {
    const batch_norm_train_args *a = args;
    (void)scratch;
    for (size_t f = range.f0, end; f < range.f1; f = end) {
        end = f + blocks_at_once(step->batch) < range.f1 ? f + blocks_at_once(step->batch) : range.f1;
#define BLOCK(g, m) mean_of_block(a, g, m, step)
        FDL_FOR_BLOCKS(BLOCK, f, end);
#undef BLOCK
#define BLOCK(g, m) variance_of_block(a, g, m, step)
        FDL_FOR_BLOCKS(BLOCK, f, end);
#undef BLOCK
#define BLOCK(g, m) normalize_block(a, g, m, step)
        FDL_FOR_BLOCKS(BLOCK, f, end);
#undef BLOCK
    }
}

/* y = act((x - moving mean) gamma / sqrt(moving variance + epsilon) + beta) */
static void batch_norm_infer(const void *args, fdl_range range, const fdl_step *step, void *scratch) {
    const batch_norm_infer_args *a = args;
    const T *x = a->x, *gamma = a->gamma, *beta = a->beta, *mean = a->moving_mean, *variance = a->moving_variance;
    T *y = a->y;
    size_t n = a->features;
    int relu = a->act == FDL_RELU;
    T epsilon = (T)a->epsilon;
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

/* scale = gamma / sqrt(moving variance + epsilon) */
static void batch_norm_scale(const void *args, fdl_range range, const fdl_step *step, void *scratch) {
    const batch_norm_scale_args *a = args;
    const T *gamma = a->gamma, *variance = a->moving_variance;
    T *scale = a->scale, epsilon = (T)a->epsilon;
    (void)step, (void)scratch;
    for (size_t f = range.f0; f < range.f1; f += VL) {
        V root = square_root(load(variance + f) + epsilon);
        store(scale + f, gamma ? load(gamma + f) / root : 1 / root);
    }
}

/* One block of batch_norm_backward. y, if given, is the output of the ReLU behind: dy counts where it is positive. */
INLINE void gradient_block(const batch_norm_backward_args *a, size_t f, size_t m, const fdl_step *step) {
    const T *x = a->x, *dy = a->dy, *gamma = a->gamma, *mean = a->mean, *inv = a->inv, *y = a->relu;
    T *dx = a->dx, *dgamma = a->dgamma, *dbeta = a->dbeta;
    size_t n = a->features;
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
    FDL_FOR_FEATURES(n, f, m,
                     V centre = splat(mean[f + j]); V one = splat(of_one[j]); V by = splat(of_x[j]); V to = splat(slope[j]);,
                     { store(dx + i, (FDL_DY(i) - one - (load(x + i) - centre) * by) * to); })
#undef FDL_DY
}

/* dbeta = sum dy, dgamma = sum dy xhat, dx = gamma inv (dy - dbeta / B - xhat dgamma / B) */
static void batch_norm_backward(const void *args, fdl_range range, const fdl_step *step, void *scratch) {
    const batch_norm_backward_args *a = args;
    (void)scratch;
#define BLOCK(f, m) gradient_block(a, f, m, step)
    FDL_FOR_BLOCKS(BLOCK, range.f0, range.f1);
#undef BLOCK
}

/* dx = dy gamma / sqrt(moving variance + epsilon): a frozen layer only scales. y as in batch_norm_backward. */
static void batch_norm_infer_backward(const void *args, fdl_range range, const fdl_step *step, void *scratch) {
    const batch_norm_infer_backward_args *a = args;
    const T *dy = a->dy, *gamma = a->gamma, *variance = a->moving_variance, *y = a->relu;
    T *dx = a->dx;
    size_t n = a->features;
    T epsilon = (T)a->epsilon;
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

/* Batch normalization (Ioffe and Szegedy 2015) with Keras's conventions: biased variance, in the moving average too.
 *
 * A feature's samples are contiguous within a panel, so its sums are vector sums; the batch's idle lanes are
 * masked out of them. Variance in two passes: the values are in the cache, and one pass cancels badly.
 */

/* Sums `a` and `b`, each a V made from the vector at offset `i`, over the batch's samples of one feature. */
#define FDL_FOR_SAMPLES(features, feature, ...)                                              \
    for (size_t p_ = 0; p_ * FDL_PANEL < step->batch; p_++) {                                 \
        size_t samples_ = samples_in(step->batch, p_), at_ = (p_ * (features) + (feature)) * FDL_PANEL; \
        for (size_t lane_ = 0; lane_ < samples_; lane_ += VL) {                               \
            const VI in_batch = lanes_below(lane_, samples_);                              \
            size_t i = at_ + lane_;                                                           \
            __VA_ARGS__                                                                              \
        }                                                                                     \
    }

/* y = (x - mean) inv gamma + beta, and moving = momentum moving + (1 - momentum) statistic */
static void batch_norm_train(const fdl_args *a, fdl_range range, const fdl_step *step, void *scratch) {
    const T *x = a->p[0], *gamma = a->p[2], *beta = a->p[3];
    T *y = a->p[1], *moving_mean = a->p[4], *moving_variance = a->p[5], *mean_out = a->p[6], *inv_out = a->p[7];
    size_t n = a->n[0];
    T momentum = (T)a->s[0], epsilon = (T)a->s[1], count = (T)step->batch;
    (void)scratch;
    for (size_t f = range.f0; f < range.f1; f++) {
        V sum = {0}, square = {0};
        FDL_FOR_SAMPLES(n, f, { sum += keep(in_batch, load(x + i)); })
        T mean = sum_lanes(sum) / count;
        FDL_FOR_SAMPLES(n, f, {
            V d = keep(in_batch, load(x + i) - mean);
            square += d * d;
        })
        T variance = sum_lanes(square) / count, inv = 1 / FDL_SQRT(variance + epsilon);
        T scale = gamma ? gamma[f] * inv : inv, shift = beta ? beta[f] : 0;
        FDL_FOR_SAMPLES(n, f, {
            (void)in_batch;
            store(y + i, (load(x + i) - mean) * scale + shift);
        })
        mean_out[f] = mean;
        inv_out[f] = inv;
        if (!moving_mean) continue;
        moving_mean[f] = moving_mean[f] * momentum + mean * (1 - momentum);
        moving_variance[f] = moving_variance[f] * momentum + variance * (1 - momentum);
    }
}

/* y = (x - moving mean) gamma / sqrt(moving variance + epsilon) + beta */
static void batch_norm_infer(const fdl_args *a, fdl_range range, const fdl_step *step, void *scratch) {
    const T *x = a->p[0], *gamma = a->p[2], *beta = a->p[3], *mean = a->p[4], *variance = a->p[5];
    T *y = a->p[1];
    size_t n = a->n[0];
    T epsilon = (T)a->s[0];
    (void)step, (void)scratch;
    for (size_t p = range.p0; p < range.p1; p++)
        for (size_t f = range.f0; f < range.f1; f++) {
            T scale = (gamma ? gamma[f] : 1) / FDL_SQRT(variance[f] + epsilon), shift = beta ? beta[f] : 0;
            size_t at = (p * n + f) * FDL_PANEL;
            for (size_t i = at; i < at + FDL_PANEL; i += VL)
                store(y + i, (load(x + i) - mean[f]) * scale + shift);
        }
}

/* dbeta = sum dy, dgamma = sum dy xhat, dx = gamma inv (dy - dbeta / B - xhat dgamma / B) */
static void batch_norm_backward(const fdl_args *a, fdl_range range, const fdl_step *step, void *scratch) {
    const T *x = a->p[0], *dy = a->p[1], *gamma = a->p[3], *mean = a->p[4], *inv = a->p[5];
    T *dx = a->p[2], *dgamma = a->p[6], *dbeta = a->p[7];
    size_t n = a->n[0];
    T count = (T)step->batch;
    (void)scratch;
    for (size_t f = range.f0; f < range.f1; f++) {
        V sum = {0}, dot = {0};
        T m = mean[f], s = inv[f];
        FDL_FOR_SAMPLES(n, f, {
            V g = keep(in_batch, load(dy + i));
            sum += g;
            dot += g * keep(in_batch, load(x + i) - m);
        })
        T total = sum_lanes(sum), product = sum_lanes(dot) * s;
        if (dgamma) dgamma[f] = product;
        if (dbeta) dbeta[f] = total;
        T scale = gamma ? gamma[f] * s : s, of_xhat = product / count * s, of_one = total / count;
        if (!dx) continue;
        FDL_FOR_SAMPLES(n, f, {
            (void)in_batch;
            store(dx + i, (load(dy + i) - of_one - (load(x + i) - m) * of_xhat) * scale);
        })
    }
}

/* dx = dy gamma / sqrt(moving variance + epsilon): a frozen layer only scales */
static void batch_norm_infer_backward(const fdl_args *a, fdl_range range, const fdl_step *step,
                                         void *scratch) {
    const T *dy = a->p[0], *gamma = a->p[2], *variance = a->p[3];
    T *dx = a->p[1];
    size_t n = a->n[0];
    T epsilon = (T)a->s[0];
    (void)step, (void)scratch;
    for (size_t p = range.p0; p < range.p1; p++)
        for (size_t f = range.f0; f < range.f1; f++) {
            T scale = (gamma ? gamma[f] : 1) / FDL_SQRT(variance[f] + epsilon);
            size_t at = (p * n + f) * FDL_PANEL;
            for (size_t i = at; i < at + FDL_PANEL; i += VL) store(dx + i, load(dy + i) * scale);
        }
}

/* Layer normalization (Ba, Kiros and Hinton 2016): each sample over its own features, with the biased variance. */

/* xhat = (x - mean) inv, y = xhat gamma + beta; mean and inv are kept for the gradient if there is room for them.
 * The mean of many numbers far from 0 is rounded; what is left of x after it, `rest`, is subtracted too. */
static void layer_norm_forward(const fdl_args *a, fdl_range range, const fdl_step *step, void *scratch) {
    const T *x = a->p[0], *gamma = a->p[2], *beta = a->p[3];
    T *y = a->p[1], *mean_out = a->p[4], *inv_out = a->p[5];
    size_t n = a->n[0];
    T epsilon = (T)a->s[0], count = (T)n;
    (void)scratch;
    FDL_FOR_LANES(n, {
        V sum = {0}, rest = {0}, square = {0};
        (void)samples;
        for (size_t f = 0; f < n; f++) sum += load(x + at + f * FDL_PANEL);
        V mean = sum / count;
        for (size_t f = 0; f < n; f++) {
            V d = load(x + at + f * FDL_PANEL) - mean;
            rest += d;
            square += d * d;
        }
        rest /= count;
        V inv = 1 / square_root(square / count - rest * rest + epsilon);
        for (size_t f = 0; f < n; f++)
            store(y + at + f * FDL_PANEL,
                  (load(x + at + f * FDL_PANEL) - mean - rest) * (inv * (gamma ? gamma[f] : 1)) + (beta ? beta[f] : 0));
        if (mean_out) {
            store(mean_out + p * FDL_PANEL + lane, mean);
            store(inv_out + p * FDL_PANEL + lane, inv);
        }
    })
}

/* dx = inv (g - mean of g - xhat mean of g xhat), g = dy gamma */
static void layer_norm_backward(const fdl_args *a, fdl_range range, const fdl_step *step, void *scratch) {
    const T *x = a->p[0], *dy = a->p[1], *gamma = a->p[3], *means = a->p[4], *invs = a->p[5];
    T *dx = a->p[2];
    size_t n = a->n[0];
    T count = (T)n;
    (void)scratch;
    FDL_FOR_LANES(n, {
        V mean = load(means + p * FDL_PANEL + lane), inv = load(invs + p * FDL_PANEL + lane), sum = {0}, dot = {0};
        (void)samples;
        for (size_t f = 0; f < n; f++) {
            V g = load(dy + at + f * FDL_PANEL) * (gamma ? gamma[f] : 1);
            sum += g;
            dot += g * (load(x + at + f * FDL_PANEL) - mean);
        }
        V of_one = sum / count, of_x = dot / count * inv * inv;
        for (size_t f = 0; f < n; f++) {
            V g = load(dy + at + f * FDL_PANEL) * (gamma ? gamma[f] : 1);
            store(dx + at + f * FDL_PANEL, (g - of_one - (load(x + at + f * FDL_PANEL) - mean) * of_x) * inv);
        }
    })
}

/* One block of layer_norm_weight_grad: features [f, f + m). */
INLINE void layer_norm_block(const fdl_args *a, size_t f, size_t m, const fdl_step *step) {
    const T *x = a->p[0], *dy = a->p[1], *mean = a->p[2], *inv = a->p[3];
    T *dgamma = a->p[4], *dbeta = a->p[5];
    size_t n = a->n[0];
    V sum[VL] = {{0}}, dot[VL] = {{0}};
#define FDL_XHAT ((load(x + i) - load(mean + p_ * FDL_PANEL + lane_)) * load(inv + p_ * FDL_PANEL + lane_))
    if (dgamma) {
        FDL_FOR_BLOCK(n, f, m, { dot[j] += load(dy + i) * FDL_XHAT; },
                      { dot[j] += keep(in_batch, load(dy + i) * FDL_XHAT); })
        store(dgamma + f, sum_rows(dot));
    }
    if (dbeta) {
        FDL_FOR_BLOCK(n, f, m, { sum[j] += load(dy + i); }, { sum[j] += keep(in_batch, load(dy + i)); })
        store(dbeta + f, sum_rows(sum));
    }
#undef FDL_XHAT
}

/* dgamma = sum dy xhat, dbeta = sum dy, over the samples */
static void layer_norm_weight_grad(const fdl_args *a, fdl_range range, const fdl_step *step, void *scratch) {
    (void)scratch;
#define BLOCK(f, m) layer_norm_block(a, f, m, step)
    FDL_FOR_BLOCKS(BLOCK, range.f0, range.f1);
#undef BLOCK
}

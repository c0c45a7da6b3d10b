/* Layer normalization (Ba, Kiros and Hinton 2016): each sample over its own features, with the biased variance. */

/* xhat = (x - mean) inv, y = xhat gamma + beta; mean and inv are kept for the gradient if there is room for them.
 * The mean of many numbers far from 0 is rounded; what is left of x after it, `rest`, is subtracted too. */
static void layer_norm_forward(const void *args, fdl_range range, const fdl_step *step, void *scratch) {
    const layer_norm_forward_args *a = args;
    const T *x = a->x, *gamma = a->gamma, *beta = a->beta;
    T *y = a->y, *mean_out = a->mean, *inv_out = a->inv;
    size_t n = a->features;
    T epsilon = (T)a->epsilon, count = (T)n;
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
static void layer_norm_backward(const void *args, fdl_range range, const fdl_step *step, void *scratch) {
    const layer_norm_backward_args *a = args;
    const T *x = a->x, *dy = a->dy, *gamma = a->gamma, *means = a->mean, *invs = a->inv;
    T *dx = a->dx;
    size_t n = a->features;
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
INLINE void layer_norm_block(const layer_norm_weight_grad_args *a, size_t f, size_t m, const fdl_step *step) {
    const T *x = a->x, *dy = a->dy, *mean = a->mean, *inv = a->inv;
    T *dgamma = a->dgamma, *dbeta = a->dbeta;
    size_t n = a->features;
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
static void layer_norm_weight_grad(const void *args, fdl_range range, const fdl_step *step, void *scratch) {
    const layer_norm_weight_grad_args *a = args;
    (void)scratch;
#define BLOCK(f, m) layer_norm_block(a, f, m, step)
    FDL_FOR_BLOCKS(BLOCK, range.f0, range.f1);
#undef BLOCK
}

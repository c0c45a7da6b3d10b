/* Softmax, losses and metrics: for each sample, over its features. A vector is VL samples, so nothing crosses lanes.
 *
 * Each panel's sum over its samples goes to part[p] in double; sum_parts adds the parts in order. Gradients
 * are those of the batch's mean, and zero in the idle lanes.
 */

/* Runs BODY for each vector of samples of each panel: `at` is the offset of its first feature, `lane` its
 * first sample within the panel, `samples` the panel's samples. */
#define FDL_FOR_LANES(features, ...)                                    \
    for (size_t p = range.p0; p < range.p1; p++) {                      \
        size_t samples = samples_in(step->batch, p);                 \
        for (size_t lane = 0; lane < samples; lane += VL) {             \
            size_t at = p * (features) * FDL_PANEL + lane;              \
            __VA_ARGS__                                                 \
        }                                                               \
    }

/* The sum of the lanes that belong to the batch. */
INLINE double sum_samples(V v, size_t lane, size_t samples) {
    return (double)sum_lanes(lane + VL <= samples ? v : keep(lanes_below(lane, samples), v));
}

/* The labels of VL samples from `sample`; -1, which is no class, beyond the batch. */
INLINE VI labels_of(const fdl_step *step, size_t feed, size_t sample) {
    I label[VL];
    const fdl_feed *from = &step->feed[feed];
    for (size_t i = 0; i < VL; i++) {
        label[i] = -1;
        if (sample + i < step->batch)
            label[i] = *(const int32_t *)(from->data + (ptrdiff_t)row_of(step, sample + i) * from->stride);
    }
    VI labels;
    __builtin_memcpy(&labels, label, sizeof labels);
    return labels;
}

/* Largest of the features, and the sum of exp(x - largest). */
INLINE V largest(const T *x, size_t n) {
    V top = load(x);
    for (size_t f = 1; f < n; f++) top = larger(top, load(x + f * FDL_PANEL));
    return top;
}

/* y = exp(x - max) / sum */
static void softmax_forward(const fdl_args *a, fdl_range range, const fdl_step *step, void *scratch) {
    const T *x = a->p[0];
    T *y = a->p[1];
    size_t n = a->n[0];
    (void)scratch;
    FDL_FOR_LANES(n, {
        V top = largest(x + at, n), sum = {0};
        for (size_t f = 0; f < n; f++) {
            V e = vexp(load(x + at + f * FDL_PANEL) - top);
            sum += e;
            store(y + at + f * FDL_PANEL, e);
        }
        (void)samples;
        for (size_t f = 0; f < n; f++) store(y + at + f * FDL_PANEL, load(y + at + f * FDL_PANEL) / sum);
    })
}

/* dx = y (dy - sum y dy) */
static void softmax_backward(const fdl_args *a, fdl_range range, const fdl_step *step, void *scratch) {
    const T *y = a->p[0], *dy = a->p[1];
    T *dx = a->p[2];
    size_t n = a->n[0];
    (void)scratch;
    FDL_FOR_LANES(n, {
        V dot = {0};
        (void)samples;
        for (size_t f = 0; f < n; f++) dot += load(y + at + f * FDL_PANEL) * load(dy + at + f * FDL_PANEL);
        for (size_t f = 0; f < n; f++)
            store(dx + at + f * FDL_PANEL,
                     load(y + at + f * FDL_PANEL) * (load(dy + at + f * FDL_PANEL) - dot));
    })
}

/* loss = log sum exp x - sum target x, dx = (softmax x - target) / B.  Targets sum to one, or weigh the sample;
 * without a target the labels stand for one-hot rows. */
INLINE void cross_entropy(const T *x, T *dx, double *part, const T *target, size_t labels_feed, size_t n,
                          fdl_range range, const fdl_step *step) {
    T each = 1 / (T)step->batch;
    for (size_t p = range.p0; p < range.p1; p++) part[p] = 0;
    FDL_FOR_LANES(n, {
        V top = largest(x + at, n), sum = {0}, weight = {0}, picked = {0};
        VI labels = {0};
        if (!target) {
            labels = labels_of(step, labels_feed, p * FDL_PANEL + lane);
            weight = splat(1);
        }
        for (size_t f = 0; f < n; f++) {
            V v = load(x + at + f * FDL_PANEL) - top, e = vexp(v);
            sum += e;
            if (dx) store(dx + at + f * FDL_PANEL, e);
            if (target) {
                V t = load(target + at + f * FDL_PANEL);
                weight += t;
                picked += t * v;
            } else {
                picked += keep(labels == (I)f, v);
            }
        }
        part[p] += sum_samples(weight * vlog(sum) - picked, lane, samples);
        if (!dx) continue;
        const VI in_batch = lanes_below(lane, samples);
        V scale = keep(in_batch, weight * each / sum);
        V amount = splat(each);
        for (size_t f = 0; f < n; f++) {
            V g = load(dx + at + f * FDL_PANEL) * scale;
            if (target) g -= keep(in_batch, load(target + at + f * FDL_PANEL) * each);
            else g -= keep(labels == (I)f, amount);
            store(dx + at + f * FDL_PANEL, g);
        }
    })
}

static void softmax_cross_entropy_sparse(const fdl_args *a, fdl_range range, const fdl_step *step,
                                            void *scratch) {
    (void)scratch;
    cross_entropy(a->p[0], a->p[1], a->p[2], NULL, a->n[1], a->n[0], range, step);
}

static void softmax_cross_entropy(const fdl_args *a, fdl_range range, const fdl_step *step, void *scratch) {
    (void)scratch;
    cross_entropy(a->p[0], a->p[1], a->p[2], a->p[3], 0, a->n[0], range, step);
}

/* loss = max(x, 0) - x t + log(1 + exp(-|x|)), dx = (sigmoid x - t) / (B F) */
static void sigmoid_cross_entropy(const fdl_args *a, fdl_range range, const fdl_step *step, void *scratch) {
    const T *x = a->p[0], *target = a->p[3];
    T *dx = a->p[1], each = 1 / (T)(step->batch * a->n[0]);
    double *part = a->p[2];
    size_t n = a->n[0];
    (void)scratch;
    for (size_t p = range.p0; p < range.p1; p++) part[p] = 0;
    FDL_FOR_LANES(n, {
        V loss = {0};
        const VI in_batch = lanes_below(lane, samples);
        for (size_t f = 0; f < n; f++) {
            V v = load(x + at + f * FDL_PANEL), t = load(target + at + f * FDL_PANEL);
            V magnitude = choose(v < 0, -v, v);
            V u = vexp(-magnitude), w = 1 + u;
            /* log1p(u) = log(w) - ((w - 1) - u) / w: puts back what 1 + u rounded away (Goldberg 1991) */
            V log1p = vlog(w) - ((w - 1) - u) / w;
            loss += keep(~(v < 0), v) - v * t + log1p;
            if (dx) store(dx + at + f * FDL_PANEL, keep(in_batch, (vsigmoid(v) - t) * each));
        }
        part[p] += sum_samples(loss, lane, samples) / (double)n;
    })
}

/* loss = (x - t)^2, dx = 2 (x - t) / (B F) */
static void mean_squared_error(const fdl_args *a, fdl_range range, const fdl_step *step, void *scratch) {
    const T *x = a->p[0], *target = a->p[3];
    T *dx = a->p[1], each = 2 / (T)(step->batch * a->n[0]);
    double *part = a->p[2];
    size_t n = a->n[0];
    (void)scratch;
    for (size_t p = range.p0; p < range.p1; p++) part[p] = 0;
    FDL_FOR_LANES(n, {
        V loss = {0};
        const VI in_batch = lanes_below(lane, samples);
        for (size_t f = 0; f < n; f++) {
            V d = load(x + at + f * FDL_PANEL) - load(target + at + f * FDL_PANEL);
            loss += d * d;
            if (dx) store(dx + at + f * FDL_PANEL, keep(in_batch, d * each));
        }
        part[p] += sum_samples(loss, lane, samples) / (double)n;
    })
}

static void mean_absolute_error(const fdl_args *a, fdl_range range, const fdl_step *step, void *scratch) {
    const T *x = a->p[0], *target = a->p[2];
    double *part = a->p[1];
    size_t n = a->n[0];
    (void)scratch;
    for (size_t p = range.p0; p < range.p1; p++) part[p] = 0;
    FDL_FOR_LANES(n, {
        V loss = {0};
        for (size_t f = 0; f < n; f++) {
            V d = load(x + at + f * FDL_PANEL) - load(target + at + f * FDL_PANEL);
            loss += choose(d < 0, -d, d);
        }
        part[p] += sum_samples(loss, lane, samples) / (double)n;
    })
}

/* The first feature that holds the largest value, lane by lane. */
INLINE VI argmax(const T *x, size_t n) {
    V top = load(x);
    VI at = {0};
    for (size_t f = 1; f < n; f++) {
        V v = load(x + f * FDL_PANEL);
        VI above = v > top;
        top = choose(above, v, top);
        at = (above & ((I)f - (VI){0})) | (~above & at);
    }
    return at;
}

static void accuracy_sparse(const fdl_args *a, fdl_range range, const fdl_step *step, void *scratch) {
    const T *x = a->p[0];
    double *part = a->p[1];
    size_t n = a->n[0];
    (void)scratch;
    for (size_t p = range.p0; p < range.p1; p++) part[p] = 0;
    FDL_FOR_LANES(n, {
        VI hit = argmax(x + at, n) == labels_of(step, a->n[1], p * FDL_PANEL + lane);
        part[p] += sum_samples(keep(hit, splat(1)), lane, samples);
    })
}

static void accuracy(const fdl_args *a, fdl_range range, const fdl_step *step, void *scratch) {
    const T *x = a->p[0], *target = a->p[2];
    double *part = a->p[1];
    size_t n = a->n[0];
    (void)scratch;
    for (size_t p = range.p0; p < range.p1; p++) part[p] = 0;
    FDL_FOR_LANES(n, {
        VI hit = argmax(x + at, n) == argmax(target + at, n);
        part[p] += sum_samples(keep(hit, splat(1)), lane, samples);
    })
}

static void accuracy_binary(const fdl_args *a, fdl_range range, const fdl_step *step, void *scratch) {
    const T *x = a->p[0], *target = a->p[2];
    double *part = a->p[1];
    size_t n = a->n[0];
    T threshold = (T)a->s[0];
    (void)scratch;
    for (size_t p = range.p0; p < range.p1; p++) part[p] = 0;
    FDL_FOR_LANES(n, {
        V hits = {0};
        for (size_t f = 0; f < n; f++) {
            V said = keep(load(x + at + f * FDL_PANEL) > threshold, splat(1));
            hits += keep(said == load(target + at + f * FDL_PANEL), splat(1));
        }
        part[p] += sum_samples(hits, lane, samples) / (double)n;
    })
}

static void sum_parts(const fdl_args *a, fdl_range range, const fdl_step *step, void *scratch) {
    const double *part = a->p[0];
    double *total = a->p[1];
    (void)range, (void)scratch;
    for (size_t p = 0; p * FDL_PANEL < step->batch; p++) *total += part[p];
}

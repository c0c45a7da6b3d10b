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
static void softmax_forward(const void *args, fdl_range range, const fdl_step *step, void *scratch) {
    const softmax_forward_args *a = args;
    const T *x = a->x;
    T *y = a->y;
    size_t n = a->features;
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
static void softmax_backward(const void *args, fdl_range range, const fdl_step *step, void *scratch) {
    const softmax_backward_args *a = args;
    const T *y = a->y, *dy = a->dy;
    T *dx = a->dx;
    size_t n = a->features;
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

/* A terminal of one value a sample: what its kernel is called with, and where the values go. */
typedef struct {
    const T *x, *target, *weight;
    T *dx, *each;
    double *part;
    size_t n, labels;
    fdl_range range;
    const fdl_step *step;
    T scale, own, kept, added; /* a target t counts as kept t + added */
} terminal;

INLINE terminal terminal_of(const terminal_args *a, fdl_range range, const fdl_step *step) {
    terminal t = {.x = a->x, .dx = a->dx, .part = a->part, .target = a->target, .weight = a->weight, .each = a->each,
                  .n = a->features, .labels = a->feed, .range = range, .step = step, .scale = (T)a->scale, .own = (T)a->own,
                  .kept = (T)a->smoothing[0], .added = (T)a->smoothing[1]};
    for (size_t p = range.p0; p < range.p1; p++) t.part[p] = 0;
    return t;
}

/* Takes the values of VL samples; returns what their gradients are to be multiplied with: weight / B, and zero beyond the
 * batch. */
INLINE V take_samples(const terminal *t, size_t p, size_t lane, size_t samples, V value) {
    V weight = splat(1);
    if (t->each) store(t->each + p * FDL_PANEL + lane, value);
    if (t->weight) {
        weight = load(t->weight + p * FDL_PANEL + lane);
        value *= weight;
    }
    t->part[p] += sum_samples(value, lane, samples);
    return keep(lanes_below(lane, samples), weight * (1 / (T)t->step->batch));
}

/* Runs BODY for each vector of samples: `x`, `target`, `dx` point to its first feature, features lie FDL_PANEL apart. */
#define FDL_FOR_SAMPLES(t, ...)                                                                     \
    for (size_t p = (t)->range.p0; p < (t)->range.p1; p++) {                                        \
        size_t samples = samples_in((t)->step->batch, p);                                           \
        for (size_t lane = 0; lane < samples; lane += VL) {                                         \
            size_t at = p * (t)->n * FDL_PANEL + lane;                                              \
            const T *x = (t)->x + at, *target = (t)->target ? (t)->target + at : NULL;              \
            T *dx = (t)->dx ? (t)->dx + at : NULL;                                                  \
            (void)target, (void)dx;                                                                 \
            __VA_ARGS__                                                                             \
        }                                                                                           \
    }

/* Losses element by element: the value from a prediction and its target, and the slope, by which it grows with the
 * prediction. `by` is the loss's own number. FDL_EPSILON is Keras's, which keeps logarithms and quotients finite. */
#define FDL_EPSILON (T)1e-7

INLINE V sign(V x) { return keep(x > 0, splat(1)) - keep(x < 0, splat(1)); }

/* (x - t)^2 */
INLINE V loss_squared(V x, V t, T by, V *slope) {
    V d = x - t;
    (void)by;
    *slope = 2 * d;
    return d * d;
}

/* |x - t| */
INLINE V loss_absolute(V x, V t, T by, V *slope) {
    (void)by;
    *slope = sign(x - t);
    return magnitude_of(x - t);
}

/* 100 |x - t| / |t| */
INLINE V loss_percentage(V x, V t, T by, V *slope) {
    V share = 100 / larger(magnitude_of(t), splat(FDL_EPSILON));
    (void)by;
    *slope = sign(x - t) * share;
    return magnitude_of(x - t) * share;
}

/* (log(1 + x) - log(1 + t))^2 */
INLINE V loss_squared_log(V x, V t, T by, V *slope) {
    V u = larger(x, splat(FDL_EPSILON)) + 1, d = vlog(u) - vlog(larger(t, splat(FDL_EPSILON)) + 1);
    (void)by;
    *slope = keep(~(x < FDL_EPSILON), 2 * d / u);
    return d * d;
}

/* d^2 / 2 up to |d| = by, straight on from there: by |d| - by^2 / 2 (Huber 1964) */
INLINE V loss_huber(V x, V t, T by, V *slope) {
    V d = x - t, far = magnitude_of(d);
    *slope = clamp(d, -by, by);
    return choose(far > by, by * far - by * by / 2, d * d / 2);
}

/* log cosh d = |d| + log(1 + exp(-2 |d|)) - log 2 */
INLINE V loss_log_cosh(V x, V t, T by, V *slope) {
    V d = x - t, far = magnitude_of(d);
    (void)by;
    *slope = vtanh(d);
    return far + vlog1p(vexp(-2 * far)) - (T)0.69314718055994530942;
}

/* x - t log x */
INLINE V loss_poisson(V x, V t, T by, V *slope) {
    (void)by;
    *slope = 1 - t / (x + FDL_EPSILON);
    return x - t * vlog(x + FDL_EPSILON);
}

/* max(1 - t x, 0), t in {-1, 1}, or 0 for -1 */
INLINE V loss_hinge(V x, V t, T by, V *slope) {
    t = choose(t == 0, splat(-1), t);
    V d = 1 - t * x;
    (void)by;
    *slope = keep(d > 0, -t);
    return keep(~(d < 0), d);
}

INLINE V loss_squared_hinge(V x, V t, T by, V *slope) {
    t = choose(t == 0, splat(-1), t);
    V d = larger(1 - t * x, (V){0});
    (void)by;
    *slope = -2 * t * d;
    return d * d;
}

/* -t log x - (1 - t) log(1 - x) */
INLINE V loss_binary(V x, V t, T by, V *slope) {
    const T low = FDL_EPSILON, high = (T)(1 - 1e-7);
    V q = clamp(x, low, high);
    (void)by;
    *slope = keep(~((x < low) | (x > high)), (q - t) / (q * (1 - q)));
    return -t * vlog(q) - (1 - t) * vlog(1 - q);
}

/* The same of sigmoid x: max(x, 0) - x t + log(1 + exp(-|x|)) */
INLINE V loss_sigmoid(V x, V t, T by, V *slope) {
    (void)by;
    *slope = vsigmoid(x) - t;
    return keep(~(x < 0), x) - x * t + vlog1p(vexp(-magnitude_of(x)));
}

/* t log(t / x) (Kullback and Leibler 1951) */
INLINE V loss_divergence(V x, V t, T by, V *slope) {
    V p = clamp(t, FDL_EPSILON, 1), q = clamp(x, FDL_EPSILON, 1);
    (void)by;
    *slope = keep(~((x < FDL_EPSILON) | (x > 1)), -p / q);
    return p * vlog(p / q);
}

/* `kind` is a constant in each use. */
INLINE V loss_by_number(int kind, V x, V t, T by, V *slope) {
    switch (kind) {
#define FDL_CASE(name) case FDL_LOSS_##name: return loss_##name(x, t, by, slope);
        FDL_LOSSES(FDL_CASE)
#undef FDL_CASE
    }
    return (V){0};
}

INLINE void element_samples(int kind, const terminal *t) {
    const T share = t->scale, by = t->own, kept = t->kept, added = t->added;
    FDL_FOR_SAMPLES(t, {
        V sum = {0}, slope = {0}, scale;
        for (size_t f = 0; f < t->n; f++) {
            V v = load(x + f * FDL_PANEL), goal = load(target + f * FDL_PANEL) * kept + added;
            sum += loss_by_number(kind, v, goal, by, &slope);
            if (dx) store(dx + f * FDL_PANEL, slope);
        }
        scale = take_samples(t, p, lane, samples, sum * share) * share;
        for (size_t f = 0; dx && f < t->n; f++) store(dx + f * FDL_PANEL, load(dx + f * FDL_PANEL) * scale);
    })
}

#define FDL_RUNNER(name) static void element_##name(const terminal *t) { element_samples(FDL_LOSS_##name, t); }
FDL_LOSSES(FDL_RUNNER)
#undef FDL_RUNNER

static void element_loss(const void *args, fdl_range range, const fdl_step *step, void *scratch) {
    const element_loss_args *a = args;
#define FDL_ENTRY(name) element_##name,
    static void (*const runners[])(const terminal *) = {FDL_LOSSES(FDL_ENTRY)};
#undef FDL_ENTRY
    terminal t = terminal_of(args, range, step);
    (void)scratch;
    runners[a->loss](&t);
}

/* The target of a feature: of the labels, or the target's, smoothed. */
INLINE V goal_of(const terminal *t, const T *target, VI labels, size_t f) {
    if (!target) return keep(labels == (I)f, splat(1));
    return load(target + f * FDL_PANEL) * t->kept + t->added;
}

INLINE VI labels_at(const terminal *t, size_t p, size_t lane) {
    return t->target ? (VI){0} : labels_of(t->step, t->labels, p * FDL_PANEL + lane);
}

/* loss = log sum exp x - sum target x, dx = (softmax x - target) / B. */
static void softmax_cross_entropy(const void *args, fdl_range range, const fdl_step *step, void *scratch) {
    const terminal t = terminal_of(args, range, step);
    (void)scratch;
    FDL_FOR_SAMPLES(&t, {
        V top = largest(x, t.n), sum = {0}, all = {0}, picked = {0};
        VI labels = labels_at(&t, p, lane);
        for (size_t f = 0; f < t.n; f++) {
            V v = load(x + f * FDL_PANEL) - top, e = vexp(v), goal = goal_of(&t, target, labels, f);
            sum += e;
            if (dx) store(dx + f * FDL_PANEL, e);
            all += goal;
            /* where nothing is wanted, x may be -inf */
            picked += keep(goal != 0, goal * v);
        }
        if (!target) all = splat(1); /* also where no class has the label, beyond the batch */
        V each = take_samples(&t, p, lane, samples, all * vlog(sum) - picked), scale = each * all / sum;
        for (size_t f = 0; dx && f < t.n; f++)
            store(dx + f * FDL_PANEL, load(dx + f * FDL_PANEL) * scale - each * goal_of(&t, target, labels, f));
    })
}

/* loss = -sum target log q, q = x / sum x within (epsilon, 1 - epsilon); dx = (dq - sum q dq) / sum x, dq = -target / q. */
static void probability_cross_entropy(const void *args, fdl_range range, const fdl_step *step, void *scratch) {
    const terminal t = terminal_of(args, range, step);
    const T low = FDL_EPSILON, high = (T)(1 - 1e-7);
    (void)scratch;
    FDL_FOR_SAMPLES(&t, {
        V sum = {0}, loss = {0}, dot = {0};
        VI labels = labels_at(&t, p, lane);
        for (size_t f = 0; f < t.n; f++) sum += load(x + f * FDL_PANEL);
        for (size_t f = 0; f < t.n; f++) {
            V q = load(x + f * FDL_PANEL) / sum, inside = clamp(q, low, high), goal = goal_of(&t, target, labels, f);
            V slope = keep(~((q < low) | (q > high)), -goal / inside);
            loss -= goal * vlog(inside);
            dot += q * slope;
            if (dx) store(dx + f * FDL_PANEL, slope);
        }
        V scale = take_samples(&t, p, lane, samples, loss) / sum;
        for (size_t f = 0; dx && f < t.n; f++)
            store(dx + f * FDL_PANEL, (load(dx + f * FDL_PANEL) - dot) * scale);
    })
}

/* v^by for v in [0, 1]; 0^0 is 1. */
INLINE V power_of(V v, T by) { return vexp(by * vlog(larger(v, splat((T)1e-37)))); }

/* Sum of scale w (1 - p_t)^gamma times the binary cross-entropy of q, p_t = t q + (1 - t)(1 - q) (Lin et al. 2017). */
static void binary_focal(const void *args, fdl_range range, const fdl_step *step, void *scratch) {
    const binary_focal_args *a = args;
    const terminal t = terminal_of(args, range, step);
    const T share = t.scale, gamma = t.own, kept = t.kept, added = t.added, one = (T)a->weights[0], zero = (T)a->weights[1];
    const int logits = a->logits != 0;
    (void)scratch;
    FDL_FOR_SAMPLES(&t, {
        V sum = {0}, scale;
        for (size_t f = 0; f < t.n; f++) {
            V v = load(x + f * FDL_PANEL), goal = load(target + f * FDL_PANEL) * kept + added, slope;
            V q = logits ? vsigmoid(v) : v, far = goal + q - 2 * goal * q; /* 1 - p_t */
            V by = (goal * one + (1 - goal) * zero) * power_of(far, gamma);
            V loss = logits ? loss_sigmoid(v, goal, 0, &slope) : loss_binary(v, goal, 0, &slope);
            V turn = gamma * (1 - 2 * goal) * loss / larger(far, splat((T)1e-37));
            sum += by * loss;
            if (logits) turn *= q * (1 - q);
            if (dx) store(dx + f * FDL_PANEL, by * (slope + turn));
        }
        scale = take_samples(&t, p, lane, samples, sum * share) * share;
        for (size_t f = 0; dx && f < t.n; f++) store(dx + f * FDL_PANEL, load(dx + f * FDL_PANEL) * scale);
    })
}

/* Sum of -scale (1 - q)^gamma target log q, q = exp x / sum exp x, or x / sum x, within (epsilon, 1 - epsilon) (Lin et al.
 * 2017). */
static void categorical_focal(const void *args, fdl_range range, const fdl_step *step, void *scratch) {
    const categorical_focal_args *a = args;
    const terminal t = terminal_of(args, range, step);
    const T low = FDL_EPSILON, high = (T)(1 - 1e-7), alpha = t.scale, gamma = t.own;
    const int logits = a->logits != 0;
    (void)scratch;
    FDL_FOR_SAMPLES(&t, {
        V top = logits ? largest(x, t.n) : (V){0}, sum = {0}, loss = {0}, dot = {0};
        for (size_t f = 0; f < t.n; f++) {
            V v = load(x + f * FDL_PANEL);
            sum += logits ? vexp(v - top) : v;
        }
        for (size_t f = 0; f < t.n; f++) {
            V v = load(x + f * FDL_PANEL), q = (logits ? vexp(v - top) : v) / sum, inside = clamp(q, low, high);
            V goal = goal_of(&t, target, (VI){0}, f), by = alpha * goal * power_of(1 - inside, gamma);
            V slope = keep(~((q < low) | (q > high)), by * (gamma * vlog(inside) / (1 - inside) - 1 / inside));
            loss -= by * vlog(inside);
            dot += q * slope;
            if (dx) store(dx + f * FDL_PANEL, slope);
        }
        V scale = take_samples(&t, p, lane, samples, loss) / (logits ? splat(1) : sum);
        for (size_t f = 0; dx && f < t.n; f++) {
            V slope = (load(dx + f * FDL_PANEL) - dot) * scale;
            if (logits) slope *= vexp(load(x + f * FDL_PANEL) - top) / sum;
            store(dx + f * FDL_PANEL, slope);
        }
    })
}

/* (1 - x^q) / q of the label's x (Zhang and Sabuncu 2018). */
static void generalized_cross_entropy(const void *args, fdl_range range, const fdl_step *step, void *scratch) {
    const terminal t = terminal_of(args, range, step);
    const T q = t.own;
    (void)scratch;
    FDL_FOR_SAMPLES(&t, {
        V picked = {0};
        VI labels = labels_at(&t, p, lane);
        for (size_t f = 0; f < t.n; f++) picked += keep(labels == (I)f, load(x + f * FDL_PANEL));
        V power = power_of(picked, q), scale = take_samples(&t, p, lane, samples, (1 - power) / q);
        V slope = -power / larger(picked, splat((T)1e-37)) * scale;
        for (size_t f = 0; dx && f < t.n; f++) store(dx + f * FDL_PANEL, keep(labels == (I)f, slope));
    })
}

/* scale times the cosine of the angle between x and target. */
static void cosine_similarity(const void *args, fdl_range range, const fdl_step *step, void *scratch) {
    const terminal t = terminal_of(args, range, step);
    const T by = t.scale, least = FDL_EPSILON * FDL_EPSILON;
    (void)scratch;
    FDL_FOR_SAMPLES(&t, {
        V xx = {0}, tt = {0}, xt = {0};
        for (size_t f = 0; f < t.n; f++) {
            V v = load(x + f * FDL_PANEL), goal = load(target + f * FDL_PANEL);
            xx += v * v;
            tt += goal * goal;
            xt += v * goal;
        }
        V inv_x = 1 / square_root(larger(xx, splat(least))), inv_t = 1 / square_root(larger(tt, splat(least)));
        V cosine = xt * inv_x * inv_t, scale = take_samples(&t, p, lane, samples, by * cosine) * by * inv_x;
        V along = keep(xx > least, cosine * inv_x); /* a vector so short is not scaled to one */
        for (size_t f = 0; dx && f < t.n; f++)
            store(dx + f * FDL_PANEL, (load(target + f * FDL_PANEL) * inv_t - load(x + f * FDL_PANEL) * along) * scale);
    })
}

/* max(1 + the largest of (1 - target) x - sum target x, 0) */
static void categorical_hinge(const void *args, fdl_range range, const fdl_step *step, void *scratch) {
    const terminal t = terminal_of(args, range, step);
    (void)scratch;
    FDL_FOR_SAMPLES(&t, {
        V wrong = splat(-(T)__builtin_inf()), right = {0};
        VI at_wrong = {0};
        for (size_t f = 0; f < t.n; f++) {
            V v = load(x + f * FDL_PANEL), goal = load(target + f * FDL_PANEL), other = (1 - goal) * v;
            VI above = other > wrong;
            right += goal * v;
            wrong = larger(wrong, other);
            at_wrong = (above & ((I)f - (VI){0})) | (~above & at_wrong);
        }
        V loss = wrong - right + 1, scale = take_samples(&t, p, lane, samples, keep(~(loss < 0), loss));
        scale = keep(loss > 0, scale);
        for (size_t f = 0; dx && f < t.n; f++) {
            V goal = load(target + f * FDL_PANEL);
            store(dx + f * FDL_PANEL, (keep(at_wrong == (I)f, 1 - goal) - goal) * scale);
        }
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

/* Whether the largest prediction is the class. */
static void accuracy(const void *args, fdl_range range, const fdl_step *step, void *scratch) {
    const terminal t = terminal_of(args, range, step);
    (void)scratch;
    FDL_FOR_SAMPLES(&t, {
        VI wanted = target ? argmax(target, t.n) : labels_at(&t, p, lane);
        take_samples(&t, p, lane, samples, keep(argmax(x, t.n) == wanted, splat(1)));
    })
}

/* The share of features that lie on the target's side of the threshold. */
static void accuracy_binary(const void *args, fdl_range range, const fdl_step *step, void *scratch) {
    const terminal t = terminal_of(args, range, step);
    const T share = t.scale, threshold = t.own;
    (void)scratch;
    FDL_FOR_SAMPLES(&t, {
        V hits = {0};
        for (size_t f = 0; f < t.n; f++) {
            V said = keep(load(x + f * FDL_PANEL) > threshold, splat(1));
            hits += keep(said == load(target + f * FDL_PANEL), splat(1));
        }
        take_samples(&t, p, lane, samples, hits * share);
    })
}

/* Whether fewer than k predictions are larger than that of the class. */
static void accuracy_top(const void *args, fdl_range range, const fdl_step *step, void *scratch) {
    const accuracy_top_args *a = args;
    const terminal t = terminal_of(args, range, step);
    const T k = (T)a->k;
    (void)scratch;
    FDL_FOR_SAMPLES(&t, {
        VI wanted = target ? argmax(target, t.n) : labels_at(&t, p, lane);
        V value = {0}, above = {0};
        for (size_t f = 0; f < t.n; f++) value = choose(wanted == (I)f, load(x + f * FDL_PANEL), value);
        for (size_t f = 0; f < t.n; f++) above += keep(load(x + f * FDL_PANEL) > value, splat(1));
        take_samples(&t, p, lane, samples, keep((above < k) & (value == value), splat(1)));
    })
}

/* total += (sum of part, in order; samples, or their weights; samples) */
static void sum_parts(const void *args, fdl_range range, const fdl_step *step, void *scratch) {
    const sum_parts_args *a = args;
    const double *part = a->part;
    double *total = a->total;
    const T *weight = a->weight;
    (void)range, (void)scratch;
    for (size_t p = 0; p * FDL_PANEL < step->batch; p++) {
        total[0] += part[p];
        for (size_t s = 0; weight && s < samples_in(step->batch, p); s++) total[1] += (double)weight[p * FDL_PANEL + s];
    }
    if (!weight) total[1] += (double)step->batch;
    total[2] += (double)step->batch;
}

/* Runs BODY for each sample and feature, one by one and in order, with its prediction `x`, target `t`, weight `w`. */
#define FDL_FOR_EACH(...)                                                                              \
    do {                                                                                               \
        const T *all_x = a->x, *all_t = a->target, *weight = a->weight;                                \
        size_t n = a->features;                                                                        \
        (void)range, (void)scratch;                                                                    \
        for (size_t p = 0; p * FDL_PANEL < step->batch; p++)                                           \
            for (size_t s = 0, samples = samples_in(step->batch, p); s < samples; s++) {               \
                double w = weight ? (double)weight[p * FDL_PANEL + s] : 1;                             \
                for (size_t f = 0; f < n; f++) {                                                       \
                    T x = all_x[(p * n + f) * FDL_PANEL + s], t = all_t[(p * n + f) * FDL_PANEL + s];  \
                    __VA_ARGS__                                                                        \
                }                                                                                      \
            }                                                                                          \
    } while (0)

/* total[i] += w for each negative that lies above exactly i thresholds, total[k + 1 + i] for each positive. */
static void count_above(const void *args, fdl_range range, const fdl_step *step, void *scratch) {
    const count_above_args *a = args;
    const double *threshold = a->thresholds;
    double *total = a->total;
    size_t k = a->count, only = a->only;
    FDL_FOR_EACH({
        size_t low = 0, high = k;
        if (only < n && f != only) continue;
        while (low < high) {
            size_t middle = (low + high) / 2;
            if (x > (T)threshold[middle]) low = middle + 1;
            else high = middle;
        }
        total[low + (t != 0 ? k + 1 : 0)] += w;
    });
}

/* total (3, F): positives that were said to be, others that were, positives that were not. Said is what lies above the
 * threshold, or, without one, a sample's largest unless it is zero. */
static void count_classes(const void *args, fdl_range range, const fdl_step *step, void *scratch) {
    const count_classes_args *a = args;
    double *total = a->total, top = 0;
    int by_threshold = a->by_threshold != 0;
    T threshold = (T)a->threshold;
    FDL_FOR_EACH({
        if (f == 0 && !by_threshold) {
            top = -__builtin_inf();
            for (size_t g = 0; g < n; g++) {
                double v = (double)all_x[(p * n + g) * FDL_PANEL + s];
                if (v > top) top = v;
            }
        }
        double said = by_threshold ? x > threshold : (double)x >= top && (x > (T)1e-9 || x < (T)-1e-9);
        total[f] += w * said * (double)t;
        total[n + f] += w * said * (1 - (double)t);
        total[2 * n + f] += w * (1 - said) * (double)t;
    });
}

/* total (4, F): sums of t, t^2, (x - t)^2 and of weights. */
static void sum_moments(const void *args, fdl_range range, const fdl_step *step, void *scratch) {
    const sum_moments_args *a = args;
    double *total = a->total;
    FDL_FOR_EACH({
        double d = (double)x - (double)t;
        total[f] += w * (double)t;
        total[n + f] += w * (double)t * (double)t;
        total[2 * n + f] += w * d * d;
        total[3 * n + f] += w;
    });
}

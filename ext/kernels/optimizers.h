/* Optimizer rules, in Keras's form: one function each, from a vector of weights, its gradient and its slots to the new
 * weights and slots. Everything else here runs a rule of FDL_RULES over a parameter or a tile of one. */

/* A rule's constants for one step, by value: the compiler must not fear that a store changes them. */
typedef struct {
    T rate[FDL_MAX_RATES]; /* computed by the optimizer's class for this step */
    T s[4];                /* its scalars */
} rule_settings;

INLINE rule_settings settings_of(const double *rates, const double *constants) {
    rule_settings set;
    for (size_t i = 0; i < FDL_MAX_RATES; i++) set.rate[i] = (T)rates[i];
    for (size_t i = 0; i < 4; i++) set.s[i] = (T)constants[i];
    return set;
}

/* w -= rate g */
INLINE V rule_sgd(rule_settings set, V w, V g, V *slot) {
    (void)slot;
    return w - set.rate[0] * g;
}

/* velocity = momentum velocity - rate g;  w += velocity.  s: momentum */
INLINE V rule_momentum(rule_settings set, V w, V g, V *slot) {
    slot[0] = set.s[0] * slot[0] - set.rate[0] * g;
    return w + slot[0];
}

/* velocity = momentum velocity - rate g;  w += momentum velocity - rate g.  s: momentum */
INLINE V rule_nesterov(rule_settings set, V w, V g, V *slot) {
    V step = set.rate[0] * g;
    slot[0] = set.s[0] * slot[0] - step;
    return w + (set.s[0] * slot[0] - step);
}

/* Adam (Kingma and Ba 2015): m += (g - m)(1 - beta_1), v += (g^2 - v)(1 - beta_2), w -= rate m / (sqrt v + epsilon).
 * s: 1 - beta_1, 1 - beta_2, epsilon.  rate: learning rate * sqrt(1 - beta_2^t) / (1 - beta_1^t) */
INLINE V rule_adam(rule_settings set, V w, V g, V *slot) {
    slot[0] += (g - slot[0]) * set.s[0];
    slot[1] += (g * g - slot[1]) * set.s[1];
    return w - slot[0] * set.rate[0] / (square_root(slot[1]) + set.s[2]);
}

/* Adagrad (Duchi et al. 2011): sum += g^2, w -= rate g / sqrt(sum + epsilon).  s: epsilon */
INLINE V rule_adagrad(rule_settings set, V w, V g, V *slot) {
    slot[0] += g * g;
    return w - set.rate[0] * g / square_root(slot[0] + set.s[0]);
}

/* RMSprop (Tieleman and Hinton 2012): v += (g^2 - v)(1 - rho), w -= rate g / sqrt(v + epsilon).
 * s: 1 - rho, epsilon, momentum */
INLINE V rmsprop_step(rule_settings set, V g, V *v) {
    *v += (g * g - *v) * set.s[0];
    return set.rate[0] * g / square_root(*v + set.s[1]);
}

INLINE V rule_rmsprop(rule_settings set, V w, V g, V *slot) { return w - rmsprop_step(set, g, slot); }

/* velocity = momentum velocity + step;  w -= velocity */
INLINE V rule_rmsprop_momentum(rule_settings set, V w, V g, V *slot) {
    slot[1] = set.s[2] * slot[1] + rmsprop_step(set, g, slot);
    return w - slot[1];
}

/* Centered (Graves 2013): mean += (g - mean)(1 - rho), and v - mean^2 for v. It is a variance; rounding may take it below
 * zero, where no root is. */
INLINE V rmsprop_centered_step(rule_settings set, V g, V *v, V *mean) {
    *v += (g * g - *v) * set.s[0];
    *mean += (g - *mean) * set.s[0];
    return set.rate[0] * g / square_root(larger(*v - *mean * *mean, (V){0}) + set.s[1]);
}

INLINE V rule_rmsprop_centered(rule_settings set, V w, V g, V *slot) {
    return w - rmsprop_centered_step(set, g, slot, slot + 1);
}

INLINE V rule_rmsprop_centered_momentum(rule_settings set, V w, V g, V *slot) {
    slot[1] = set.s[2] * slot[1] + rmsprop_centered_step(set, g, slot, slot + 2);
    return w - slot[1];
}

/* Adadelta (Zeiler 2012): v += (g^2 - v)(1 - rho), d = g sqrt(u + epsilon) / sqrt(v + epsilon), u += (d^2 - u)(1 - rho),
 * w -= rate d.  s: 1 - rho, epsilon */
INLINE V rule_adadelta(rule_settings set, V w, V g, V *slot) {
    slot[0] += (g * g - slot[0]) * set.s[0];
    V step = square_root(slot[1] + set.s[1]) * g / square_root(slot[0] + set.s[1]);
    slot[1] += (step * step - slot[1]) * set.s[0];
    return w - set.rate[0] * step;
}

/* AMSGrad (Reddi et al. 2018): Adam with the largest v so far */
INLINE V rule_amsgrad(rule_settings set, V w, V g, V *slot) {
    slot[0] += (g - slot[0]) * set.s[0];
    slot[1] += (g * g - slot[1]) * set.s[1];
    slot[2] = larger(slot[2], slot[1]);
    return w - slot[0] * set.rate[0] / (square_root(slot[2]) + set.s[2]);
}

/* Adamax (Kingma and Ba 2015): m += (g - m)(1 - beta_1), u = max(beta_2 u, |g|), w -= rate m / (u + epsilon).
 * s: 1 - beta_1, beta_2, epsilon.  rate: learning rate / (1 - beta_1^t) */
INLINE V rule_adamax(rule_settings set, V w, V g, V *slot) {
    slot[0] += (g - slot[0]) * set.s[0];
    slot[1] = larger(choose(g < 0, -g, g), set.s[1] * slot[1]);
    return w - slot[0] * set.rate[0] / (slot[1] + set.s[2]);
}

/* Nadam (Dozat 2016): Adam's m and v, w -= (rate_0 m + rate_1 g) / (rate_2 sqrt v + epsilon).
 * s: 1 - beta_1, 1 - beta_2, epsilon.  The rates correct the bias, with momenta that warm up. */
INLINE V rule_nadam(rule_settings set, V w, V g, V *slot) {
    slot[0] += (g - slot[0]) * set.s[0];
    slot[1] += (g * g - slot[1]) * set.s[1];
    return w - (set.rate[0] * slot[0] + set.rate[1] * g) / (square_root(slot[1]) * set.rate[2] + set.s[2]);
}

/* Lion (Chen et al. 2023): w -= rate sign(m + (g - m)(1 - beta_1)), m += (g - m)(1 - beta_2).  s: 1 - beta_1, 1 - beta_2.
 * The sign of a NaN is one: it must reach the weights. */
INLINE V rule_lion(rule_settings set, V w, V g, V *slot) {
    V d = slot[0] + (g - slot[0]) * set.s[0], one = splat(1);
    slot[0] += (g - slot[0]) * set.s[1];
    return w - set.rate[0] * choose(d == d, keep(d > 0, one) - keep(d < 0, one), d);
}

/* Where a rule works: weights and slots, from the first element of a part. Slots beyond the rule's are not looked at. */
typedef struct {
    T *w, *slot[FDL_MAX_SLOTS];
} rule_place;

INLINE rule_place place_of(void *w, void *const *slots) {
    rule_place place = {w, {NULL}};
    for (size_t i = 0; i < FDL_MAX_SLOTS; i++) place.slot[i] = slots[i];
    return place;
}

INLINE rule_place place_at(rule_place place, size_t at) {
    place.w += at;
    for (size_t i = 0; i < FDL_MAX_SLOTS; i++)
        if (place.slot[i]) place.slot[i] += at;
    return place;
}

/* Steps the vector at `at` by its gradient g. `rule` is a constant in each use. */
INLINE void step_vector(int rule, rule_settings set, rule_place place, size_t at, V g) {
    V slot[FDL_MAX_SLOTS];
    switch (rule) {
#define FDL_CASE(name, slots)                                                             \
    case FDL_RULE_##name:                                                                 \
        for (int i = 0; i < slots; i++) slot[i] = load(place.slot[i] + at);            \
        store(place.w + at, rule_##name(set, load(place.w + at), g, slot));               \
        for (int i = 0; i < slots; i++) store(place.slot[i] + at, slot[i]);            \
        break;
        FDL_RULES(FDL_CASE)
#undef FDL_CASE
    }
}

/* `rows` rows of `columns` (whole vectors: the padding's gradient is zero, and no rule moves a zero by a zero), FDL_STRIP
 * elements from row to row, ldg in g. */
INLINE void step_rows(int rule, rule_settings set, rule_place place, const T *g, size_t ldg, size_t rows, size_t columns) {
    for (size_t row = 0; row < rows; row++)
        for (size_t i = 0; i < columns; i += VL) step_vector(rule, set, place, row * FDL_STRIP + i, load(g + row * ldg + i));
}

typedef void (*rule_stepper)(const rule_settings *set, rule_place place, const T *g, size_t ldg, size_t rows, size_t columns);
#define FDL_STEPPER(name, slots)                                                                              \
    static void step_##name(const rule_settings *set, rule_place place, const T *g, size_t ldg, size_t rows, \
                            size_t columns) {                                                                 \
        step_rows(FDL_RULE_##name, *set, place, g, ldg, rows, columns);                                       \
    }
FDL_RULES(FDL_STEPPER)
#undef FDL_STEPPER
#define FDL_ENTRY(name, slots) step_##name,
static const rule_stepper rule_steppers[] = {FDL_RULES(FDL_ENTRY)};
#undef FDL_ENTRY

/* What comes before any rule, in Keras's order: g += slope of the penalty, g = scale g, no further than `limit` from zero;
 * w -= decay w. */
typedef struct {
    T scale, limit, decay, l1, l2;
} rule_taming;

/* limit: of an element of the gradient; decay, l1, l2: the parameter's. */
INLINE rule_taming taming_of(const double *rates, double limit, double decay, double l1, double l2) {
    return (rule_taming){1, (T)limit, (T)(decay * rates[FDL_MAX_RATES - 1]), (T)l1, (T)l2};
}

/* The same where the norm may be no larger than the limit. A norm that is no number makes the weights none. */
INLINE void tame_norm(rule_taming *tame, double squares, double limit) {
    double norm = __builtin_sqrt(squares);
    tame->scale = norm <= limit ? 1 : (T)(limit / norm);
    tame->limit = (T)__builtin_inf();
}

/* As step_rows, to be called before it; the tamed gradient goes to `to`, which may be g. */
static void tame_rows(const rule_taming *tame, T *w, const T *g, T *to, size_t ldg, size_t rows, size_t columns) {
    const rule_taming by = *tame;
    for (size_t row = 0; row < rows; row++)
        for (size_t i = 0; i < columns; i += VL) {
            V *weights = (V *)(w + row * FDL_STRIP + i);
            V slope = load(g + row * ldg + i) + penalty_slope(*weights, by.l1, by.l2);
            store(to + row * ldg + i, clamp(by.scale * slope, -by.limit, by.limit));
            *weights -= *weights * by.decay;
        }
}

/* One step of columns [f0, f1) of a parameter: a weight matrix in strips, or a vector, strip by strip. */
static void optimizer_step(const void *args, fdl_range range, const fdl_step *step, void *scratch) {
    const optimizer_step_args *a = args;
    const rule_settings set = settings_of(step->rates, a->constants);
    rule_taming tame = taming_of(step->rates, a->limit, a->decay, a->l1, a->l2);
    const double *squares = a->squares;
    const T *dw = a->dw;
    const rule_place to = place_of(a->w, a->slots);
    const size_t k = a->inputs, end = (range.f1 + VL - 1) / VL * VL;
    const size_t most = a->prepare ? FDL_SCRATCH / sizeof(T) / FDL_STRIP : k; /* rows at once */
    if (squares) tame_norm(&tame, *squares, a->limit);
    for (size_t f = range.f0, next; f < end; f = next) {
        next = f / FDL_STRIP * FDL_STRIP + FDL_STRIP;
        if (next > end) next = end;
        for (size_t row = 0; row < k; row += most) {
            size_t rows = k - row < most ? k - row : most, at = column(k, f) + row * FDL_STRIP;
            const T *g = dw + at;
            if (a->prepare) {
                tame_rows(&tame, to.w + at, g, scratch, FDL_STRIP, rows, next - f);
                g = scratch;
            }
            rule_steppers[a->rule](&set, place_at(to, at), g, FDL_STRIP, rows, next - f);
        }
    }
}

/* part = the sum of squares of each unit of columns, with the slope of a penalty on w added to dw; in double, in an order
 * of its own. */
static void sum_squares(const void *args, fdl_range range, const fdl_step *step, void *scratch) {
    const sum_squares_args *a = args;
    const T *dw = a->dw, *w = a->w;
    const T l1 = (T)a->l1, l2 = (T)a->l2;
    double *part = a->part;
    size_t k = a->inputs, n = a->outputs;
    (void)step, (void)scratch;
    for (size_t f = range.f0; f < range.f1; f += FDL_UNIT) {
        const size_t at = column(k, f);
        double sum[FDL_UNIT] = {0};
        for (size_t row = 0; row < k; row++) {
            T g[FDL_UNIT];
            memcpy(g, dw + at + row * FDL_STRIP, sizeof g);
            if (w)
                for (size_t i = 0; i < FDL_UNIT; i += VL)
                    storeu(g + i, loadu(g + i) + penalty_slope(load(w + at + row * FDL_STRIP + i), l1, l2));
            for (size_t i = 0; i < FDL_UNIT; i++) sum[i] += (double)g[i] * (double)g[i];
        }
        part[f / FDL_UNIT] = 0;
        for (size_t i = 0; i < FDL_UNIT && f + i < n; i++) part[f / FDL_UNIT] += sum[i]; /* the padding holds junk */
    }
}

static void add_parts(const void *args, fdl_range range, const fdl_step *step, void *scratch) {
    const add_parts_args *a = args;
    const double *part = a->part;
    double *total = a->total;
    (void)range, (void)step, (void)scratch;
    if (a->first) *total = 0;
    for (size_t i = 0; i < a->parts; i++) *total += part[i];
}

/* average = momentum average + (1 - momentum) w, which begins as w; and back into w where it is due. */
static void average_weights(const void *args, fdl_range range, const fdl_step *step, void *scratch) {
    const average_weights_args *a = args;
    T *w = a->w, *average = a->average;
    const T momentum = step->step ? (T)a->momentum : 0;
    const uint64_t frequency = (uint64_t)a->frequency;
    const int overwrite = frequency && (step->step + 1) % frequency == 0;
    (void)scratch;
    for (size_t i = range.f0; i < range.f1; i += VL) {
        V mean = momentum * load(average + i) + (1 - momentum) * load(w + i);
        store(average + i, mean);
        if (overwrite) store(w + i, mean);
    }
}

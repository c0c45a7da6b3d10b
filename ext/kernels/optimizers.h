/* Optimizer rules, in Keras's form: one function each, used on a parameter and its gradient, and by
 * dense_weight_step on a tile of gradient that is never written to memory. */

typedef struct {
    T rate;          /* this step's size */
    const double *s; /* the rule's scalars */
} rule_settings;

/* Steps w and its slots by g: `rows` rows of `columns` (whole vectors: the padding's gradient is zero and stays
 * so), ld elements from row to row, ldg in g. Unused slots are NULL. */
typedef void (*update_rule)(const rule_settings *set, T *w, T *slot1, T *slot2, size_t ld, const T *g, size_t ldg,
                            size_t rows, size_t columns);

/* velocity = momentum velocity - rate g;  w += velocity, or Nesterov's w += momentum velocity - rate g */
INLINE void sgd_vector(const rule_settings *set, T *w, T *velocity, V g) {
    V step = -(set->rate * g);
    if (velocity) {
        T momentum = (T)set->s[0];
        V v = momentum * load(velocity) + step;
        store(velocity, v);
        if (set->s[1] != 0) step = momentum * v + step; /* Nesterov */
        else step = v;
    }
    store(w, load(w) + step);
}

/* Adam (Kingma and Ba 2015): m += (g - m)(1 - beta_1), v += (g^2 - v)(1 - beta_2), w -= rate m / (sqrt v + eps) */
INLINE void adam_vector(const rule_settings *set, T *w, T *m, T *v, V g) {
    T gain1 = (T)(1 - set->s[0]), gain2 = (T)(1 - set->s[1]), epsilon = (T)set->s[2];
    V first = load(m), second = load(v);
    first += (g - first) * gain1;
    second += (g * g - second) * gain2;
    store(m, first);
    store(v, second);
    store(w, load(w) - first * set->rate / (square_root(second) + epsilon));
}

/* `rule` is a constant in each use. */
INLINE void update_vector(int rule, const rule_settings *set, T *w, T *slot1, T *slot2, V g) {
    if (rule == FDL_ADAM) adam_vector(set, w, slot1, slot2, g);
    else sgd_vector(set, w, slot1, g);
}

INLINE void update(int rule, const rule_settings *set, T *w, T *slot1, T *slot2, size_t ld, const T *g, size_t ldg,
                   size_t rows, size_t columns) {
    for (size_t row = 0; row < rows; row++)
        for (size_t i = 0; i < columns; i += VL) {
            size_t at = row * ld + i;
            update_vector(rule, set, w + at, slot1 ? slot1 + at : slot1, slot2 ? slot2 + at : slot2,
                          load(g + row * ldg + i));
        }
}

static void sgd_rule(const rule_settings *set, T *w, T *slot1, T *slot2, size_t ld, const T *g, size_t ldg, size_t rows,
                     size_t columns) {
    if (slot1) update(FDL_SGD, set, w, slot1, NULL, ld, g, ldg, rows, columns);
    else update(FDL_SGD, set, w, NULL, NULL, ld, g, ldg, rows, columns);
    (void)slot2;
}

static void adam_rule(const rule_settings *set, T *w, T *slot1, T *slot2, size_t ld, const T *g, size_t ldg, size_t rows,
                      size_t columns) {
    update(FDL_ADAM, set, w, slot1, slot2, ld, g, ldg, rows, columns);
}

static const update_rule update_rules[] = {[FDL_SGD] = sgd_rule, [FDL_ADAM] = adam_rule};

/* One step of columns [f0, f1) of a parameter: a weight matrix in strips, or a vector, strip by strip. */
static void optimizer_step(const fdl_args *a, fdl_range range, const fdl_step *step, void *scratch) {
    const rule_settings set = {(T)step->rates[0], a->s};
    size_t k = a->n[0], end = (range.f1 + VL - 1) / VL * VL;
    T *w = a->p[0], *slot1 = a->p[2], *slot2 = a->p[3];
    const T *g = a->p[1];
    (void)scratch;
    for (size_t f = range.f0, to; f < end; f = to) {
        to = f / FDL_STRIP * FDL_STRIP + FDL_STRIP;
        if (to > end) to = end;
        size_t at = column(k, f);
        update_rules[a->n[1]](&set, w + at, slot1 ? slot1 + at : slot1, slot2 ? slot2 + at : slot2, FDL_STRIP, g + at,
                              FDL_STRIP, k, to - f);
    }
}

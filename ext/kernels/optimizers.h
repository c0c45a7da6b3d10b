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

#define FDL_FOR_WEIGHTS(...)                                                                                      \
    for (size_t row = 0; row < rows; row++, w += ld, slot1 = slot1 ? slot1 + ld : slot1,                          \
                slot2 = slot2 ? slot2 + ld : slot2, g += ldg)                                                     \
        for (size_t i = 0; i < columns; i += VL) __VA_ARGS__

/* velocity = momentum velocity - rate g;  w += velocity, or Nesterov's w += momentum velocity - rate g */
static void sgd_rule(const rule_settings *set, T *w, T *slot1, T *slot2, size_t ld, const T *g, size_t ldg, size_t rows,
                     size_t columns) {
    T rate = set->rate, momentum = (T)set->s[0];
    int nesterov = set->s[1] != 0;
    if (!slot1) FDL_FOR_WEIGHTS({ store(w + i, load(w + i) - rate * load(g + i)); })
    else FDL_FOR_WEIGHTS({
        V pull = rate * load(g + i), v = momentum * load(slot1 + i) - pull;
        store(slot1 + i, v);
        if (nesterov) v = momentum * v - pull;
        store(w + i, load(w + i) + v);
    })
}

/* Adam (Kingma and Ba 2015): m += (g - m)(1 - beta_1), v += (g^2 - v)(1 - beta_2), w -= rate m / (sqrt v + eps) */
static void adam_rule(const rule_settings *set, T *w, T *slot1, T *slot2, size_t ld, const T *g, size_t ldg, size_t rows,
                      size_t columns) {
    T gain1 = (T)(1 - set->s[0]), gain2 = (T)(1 - set->s[1]), epsilon = (T)set->s[2], rate = set->rate;
    FDL_FOR_WEIGHTS({
        V grad = load(g + i), first = load(slot1 + i), second = load(slot2 + i);
        first += (grad - first) * gain1;
        second += (grad * grad - second) * gain2;
        store(slot1 + i, first);
        store(slot2 + i, second);
        store(w + i, load(w + i) - first * rate / (square_root(second) + epsilon));
    })
}

static const update_rule update_rules[] = {[FDL_SGD] = sgd_rule, [FDL_ADAM] = adam_rule};

/* One step of columns [f0, f1) of a parameter: a weight matrix in strips, or one row of it all. */
static void optimizer_step(const fdl_args *a, fdl_range range, const fdl_step *step, void *scratch) {
    const rule_settings set = {(T)step->rates[0], a->s};
    size_t k = a->n[0], end = (range.f1 + VL - 1) / VL * VL;
    T *w = a->p[0], *slot1 = a->p[2], *slot2 = a->p[3];
    const T *g = a->p[1];
    (void)scratch;
    for (size_t f = range.f0, to; f < end; f = to) {
        to = k > 1 ? f / FDL_STRIP * FDL_STRIP + FDL_STRIP : end;
        if (to > end) to = end;
        size_t at = k > 1 ? f / FDL_STRIP * k * FDL_STRIP + f % FDL_STRIP : f;
        update_rules[a->n[1]](&set, w + at, slot1 ? slot1 + at : slot1, slot2 ? slot2 + at : slot2, FDL_STRIP, g + at,
                              FDL_STRIP, k, to - f);
    }
}

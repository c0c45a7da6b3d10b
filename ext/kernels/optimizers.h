/* Optimizer rules, in Keras's form: one function each, from a vector of weights, its gradient and its slots to the new
 * weights and slots. Everything else here runs a rule of FDL_RULES over a parameter or a tile of one. */

/* A rule's constants for one step, by value: the compiler must not fear that a store changes them. */
typedef struct {
    T rate[FDL_MAX_RATES]; /* computed by the optimizer's class for this step */
    T s[4];                /* its scalars */
} rule_settings;

INLINE rule_settings settings_of(const double *rates, const double *scalars) {
    rule_settings set;
    for (size_t i = 0; i < FDL_MAX_RATES; i++) set.rate[i] = (T)rates[i];
    for (size_t i = 0; i < 4; i++) set.s[i] = (T)scalars[i];
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

/* Where a rule works: weights and slots, from the first element of a part. Slots beyond the rule's are not looked at. */
typedef struct {
    T *w, *slot[FDL_MAX_SLOTS];
} rule_place;

INLINE rule_place place_at(void *const *p, size_t at) {
    rule_place place = {(T *)p[0] + at, {NULL}};
    for (size_t i = 0; i < FDL_MAX_SLOTS; i++)
        if (p[i + 1]) place.slot[i] = (T *)p[i + 1] + at;
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

/* One step of columns [f0, f1) of a parameter: a weight matrix in strips, or a vector, strip by strip. */
static void optimizer_step(const fdl_args *a, fdl_range range, const fdl_step *step, void *scratch) {
    const rule_settings set = settings_of(step->rates, a->s);
    void *const to[] = {a->p[0], a->p[2], a->p[3], a->p[4]};
    size_t k = a->n[0], end = (range.f1 + VL - 1) / VL * VL;
    (void)scratch;
    for (size_t f = range.f0, next; f < end; f = next) {
        next = f / FDL_STRIP * FDL_STRIP + FDL_STRIP;
        if (next > end) next = end;
        size_t at = column(k, f);
        rule_steppers[a->n[1]](&set, place_at(to, at), (const T *)a->p[1] + at, FDL_STRIP, k, next - f);
    }
}

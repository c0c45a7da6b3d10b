/* Optimizer steps, in Keras's form. Whole vectors: the padding's gradient is zero and stays so. */

/* Runs BODY for each vector of columns [f0, f1) of a (rows, ld) parameter; `i` is its offset. */
#define FDL_FOR_WEIGHTS(...)                                                          \
    for (size_t row = 0; row < a->n[0]; row++) {                                       \
        size_t end_ = row * a->n[1] + (range.f1 + VL - 1) / VL * VL;                   \
        for (size_t i = row * a->n[1] + range.f0; i < end_; i += VL) __VA_ARGS__              \
    }

/* velocity = momentum velocity - rate g;  w += velocity, or Nesterov's w += momentum velocity - rate g */
static void sgd(const fdl_args *a, fdl_range range, const fdl_step *step, void *scratch) {
    T *w = a->p[0], *velocity = a->p[2], rate = (T)step->rates[0], momentum = (T)a->s[0];
    const T *g = a->p[1];
    int nesterov = a->s[1] != 0;
    (void)scratch;
    if (!velocity) {
        FDL_FOR_WEIGHTS({ store(w + i, load(w + i) - rate * load(g + i)); })
        return;
    }
    FDL_FOR_WEIGHTS({
        V pull = rate * load(g + i), v = momentum * load(velocity + i) - pull;
        store(velocity + i, v);
        if (nesterov) store(w + i, load(w + i) + (momentum * v - pull));
        else store(w + i, load(w + i) + v);
    })
}

/* Adam (Kingma and Ba 2015): m += (g - m)(1 - beta_1), v += (g^2 - v)(1 - beta_2), w -= rate m / (sqrt v + eps) */
static void adam(const fdl_args *a, fdl_range range, const fdl_step *step, void *scratch) {
    T *w = a->p[0], *m = a->p[2], *v = a->p[3], rate = (T)step->rates[0];
    const T *g = a->p[1];
    T gain1 = (T)(1 - a->s[0]), gain2 = (T)(1 - a->s[1]), epsilon = (T)a->s[2];
    (void)scratch;
    FDL_FOR_WEIGHTS({
        V grad = load(g + i), first = load(m + i), second = load(v + i);
        first += (grad - first) * gain1;
        second += (grad * grad - second) * gain2;
        store(m + i, first);
        store(v + i, second);
        store(w + i, load(w + i) - first * rate / (square_root(second) + epsilon));
    })
}

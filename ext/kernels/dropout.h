/* Dropout, whose random numbers are a function of the element's number, the step and the model's seed, or the layer's. */

/* Runs BODY for each vector of features [f0, f1) of panels [p0, p1); `i` is its offset into (P, F, 32). */
#define FDL_FOR_VECTORS(features, ...)                                                    \
    for (size_t p = range.p0; p < range.p1; p++) {                                         \
        size_t begin_ = (p * (features) + range.f0) * FDL_PANEL;                           \
        size_t end_ = (p * (features) + range.f1) * FDL_PANEL;                             \
        for (size_t i = begin_; i < end_; i += VL) __VA_ARGS__                             \
    }

/* Random bits of an element from its number and two keys: two rounds of a 32-bit finalizer with low bias
 * (C. Wellons, "Prospecting for hash functions", 2018). Counter-based, so no thread owns a generator. */
typedef struct {
    uint32_t first, second;
} random_key;
INLINE uint32_t random_bits(uint32_t counter, random_key key) {
    uint32_t h = counter * 0x9e3779b1u + key.first;
    h = (h ^ (h >> 16)) * 0x21f0aaadu;
    h = (h ^ (h >> 15)) * 0x735a2d97u;
    h ^= (h >> 15) ^ key.second;
    h = (h ^ (h >> 16)) * 0x7feb352du;
    h = (h ^ (h >> 15)) * 0x846ca68bu;
    return h ^ (h >> 16);
}

/* splitmix64 (Steele, Lea, Flood 2014): spreads a seed over 64 bits. */
INLINE uint64_t spread(uint64_t x) {
    x += 0x9e3779b97f4a7c15u;
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
    return x ^ (x >> 31);
}

/* The keys of one step of one layer's stream. Those from FDL_SEEDED on are a layer's that has a seed, so that they do not
 * depend on the model's. */
INLINE random_key key_of(const fdl_step *step, size_t stream) {
    uint64_t key = spread(spread(spread(stream < FDL_SEEDED ? step->seed : 0) + step->step) + stream);
    return (random_key){(uint32_t)key, (uint32_t)(key >> 32)};
}

/* y = x mask, mask = 1 / (1 - rate) with probability 1 - rate, else 0 (inverted dropout). */
static void dropout_forward(const void *args, fdl_range range, const fdl_step *step, void *scratch) {
    const dropout_forward_args *a = args;
    const T *x = a->x;
    T *y = a->y, *mask = a->mask;
    size_t n = a->features;
    const random_key key = key_of(step, a->stream);
    double rate = a->rate;
    uint32_t threshold = rate < 1 ? (uint32_t)(rate * 4294967296.0) : UINT32_MAX;
    T kept = rate < 1 ? (T)(1 / (1 - rate)) : 0;
    (void)scratch;
    for (size_t p = range.p0; p < range.p1; p++)
        for (size_t f = range.f0; f < range.f1; f++) {
            size_t at = (p * n + f) * FDL_PANEL;
            for (size_t i = 0; i < FDL_PANEL; i++) {
                T m = random_bits((uint32_t)(at + i), key) >= threshold ? kept : 0;
                mask[at + i] = m;
                y[at + i] = x[at + i] * m;
            }
        }
}

static void dropout_backward(const void *args, fdl_range range, const fdl_step *step, void *scratch) {
    const dropout_backward_args *a = args;
    const T *dy = a->dy, *mask = a->mask;
    T *dx = a->dx;
    (void)step, (void)scratch;
    FDL_FOR_VECTORS(a->features, { store(dx + i, load(dy + i) * load(mask + i)); })
}

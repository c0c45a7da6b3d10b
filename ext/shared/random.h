/* Random numbers that are functions of a counter: the number of an element, the step, and the seed of the model or of the
 * layer decide them, so no thread owns a generator, and a backward pass draws the same again. */
#ifndef FDL_SHARED_RANDOM_H
#define FDL_SHARED_RANDOM_H

#include "../kernels.h"
#include "vec.h"
#include "vecmath.h"

/* Random bits of an element from its number and two keys: two rounds of a 32-bit finalizer with low bias
 * (C. Wellons, "Prospecting for hash functions", 2018). */
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

/* The keys of one step of one layer's stream. Streams from FDL_SEEDED on are those of layers that have a seed of their
 * own, and do not depend on the model's. */
INLINE random_key key_of(const fdl_step *step, size_t stream) {
    uint64_t key = spread(spread(spread(stream < FDL_SEEDED ? step->seed : 0) + step->step) + stream);
    return (random_key){(uint32_t)key, (uint32_t)(key >> 32)};
}

/* FDL_PANEL numbers from as many random words, uniform in (0, 1): 31 bits and a half, so that neither end is reached
 * except by rounding. */
INLINE void draw_uniform(T *to, const uint32_t *bits) {
    for (size_t i = 0; i < FDL_PANEL; i++) to[i] = ((T)(int32_t)(bits[i] >> 1) + (T)0.5) * (T)4.656612873077393e-10;
}

/* The same, standard normal (Box and Muller 1958): of two uniform numbers u, v both sqrt(-2 log u) cos 2 pi v and sin. */
INLINE void draw_normal(T *to, const uint32_t *bits) {
    const size_t half = FDL_PANEL / 2;
    draw_uniform(to, bits);
    for (size_t i = 0; i < half; i += VL) {
        V radius = square_root(-2 * vlog(load(to + i)));
        V sine, cosine;
        sine_cosine((load(to + half + i) - (T)0.5) * (T)3.14159265358979323846, &sine, &cosine);
        store(to + i, radius * cosine);
        store(to + half + i, radius * sine);
    }
}

#endif

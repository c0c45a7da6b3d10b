/* Mixup (Zhang et al. 2018): each sample becomes w of itself and 1 - w of another one of the batch, w from Beta(a, a). */
#ifndef FDL_KERNELS_MIX_H
#define FDL_KERNELS_MIX_H

#include "../kernels.h"
#include "../shared/random.h"
#include "../shared/vec.h"
#include "../shared/vecmath.h"

/* How far behind a sample its partner lies; after the batch's last sample comes its first. One number a step, 0 only in a
 * batch of one. */
INLINE size_t partner_distance(const fdl_step *step, random_key key) {
    return step->batch > 1 ? 1 + random_bits(UINT32_MAX, key) % (step->batch - 1) : 0;
}

/* Beta(a, a) by Joehnk 1964: of two uniform numbers u^(1/a) / (u^(1/a) + v^(1/a)), if that sum is at most 1; in
 * logarithms, because the powers are tiny. A sample for which no try succeeds gets the weight 1: it is not mixed. */
#define FDL_MIX_TRIES 256

/* Tries once more for those of FDL_PANEL samples that are open; returns whether any is still open. */
INLINE int try_weights(T *weight, VI open[FDL_PANEL / VL], size_t first, uint32_t try, T over, random_key key) {
    uint32_t bits[FDL_PANEL];
    _Alignas(64) T uniform[2][FDL_PANEL];
    int left = 0;
    for (uint32_t k = 0; k < 2; k++) {
        for (uint32_t i = 0; i < FDL_PANEL; i++)
            bits[i] = random_bits(((uint32_t)first + i) * (2 * FDL_MIX_TRIES) + 2 * try + k, key);
        draw_uniform(uniform[k], bits);
    }
    for (size_t i = 0; i < FDL_PANEL; i += VL) {
        V x = vlog(load(uniform[0] + i)) * over, y = vlog(load(uniform[1] + i)) * over, most = larger(x, y);
        V part = vexp(x - most), sum = part + vexp(y - most);
        VI succeeds = open[i / VL] & (most + vlog(sum) <= 0), still_open = open[i / VL] & ~succeeds;
        store(weight + i, choose(succeeds, part / sum, load(weight + i)));
        open[i / VL] = still_open;
        for (size_t j = 0; j < VL; j++) left |= still_open[j] != 0;
    }
    return left;
}

static void mix_weights(const void *args, fdl_range range, const fdl_step *step, void *scratch) {
    const mix_weights_args *a = args;
    const random_key key = key_of(step, a->stream);
    const T over = (T)(1 / a->alpha);
    (void)scratch;
    for (size_t p = range.p0; p < range.p1; p++) {
        T *weight = (T *)a->weight + p * FDL_PANEL;
        VI open[FDL_PANEL / VL];
        for (size_t i = 0; i < FDL_PANEL; i += VL) {
            open[i / VL] = (VI){0} == 0;
            store(weight + i, splat(1));
        }
        for (uint32_t try = 0, left = 1; left && try < FDL_MIX_TRIES; try++)
            left = (uint32_t)try_weights(weight, open, p * FDL_PANEL, try, over, key);
    }
}

/* y = w x + (1 - w) partner's x. back: dx of dy; a sample's dx has a part from its own dy, and one from the dy of the sample
 * whose partner it is. */
static void mix(const void *args, fdl_range range, const fdl_step *step, void *scratch) {
    const mix_args *a = args;
    const T *x = a->x, *weight = a->weight;
    T *y = a->y;
    const size_t n = a->features, batch = step->batch, back = a->back;
    size_t distance = partner_distance(step, key_of(step, a->stream));
    (void)scratch;
    if (back) distance = batch - distance;
    for (size_t p = range.p0; p < range.p1; p++) {
        size_t partner[FDL_PANEL];
        _Alignas(64) T own[FDL_PANEL], other[FDL_PANEL];
        for (size_t i = 0; i < FDL_PANEL; i++) {
            size_t sample = p * FDL_PANEL + i, with = sample < batch ? (sample + distance) % batch : sample;
            partner[i] = with / FDL_PANEL * n * FDL_PANEL + with % FDL_PANEL;
            own[i] = weight[sample];
            other[i] = 1 - weight[back ? with : sample];
        }
        for (size_t f = range.f0; f < range.f1; f++) {
            const T *from = x + f * FDL_PANEL;
            T *to = y + (p * n + f) * FDL_PANEL;
            const T *itself = x + (p * n + f) * FDL_PANEL;
            for (size_t i = 0; i < FDL_PANEL; i++) to[i] = own[i] * itself[i] + other[i] * from[partner[i]];
        }
    }
}

#endif

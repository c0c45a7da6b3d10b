/* Numbers as waves (Gorishniy et al. 2022), and a small dense layer of each number's own behind them: with the number itself
 * in front the PBLD of Holzmüller et al. 2024. The waves are never stored: backward computes them again, which takes less
 * time than to read them.
 *
 * Threads share the numbers: each is FDL_UNIT features of the range. */
#ifndef FDL_KERNELS_PERIODIC_H
#define FDL_KERNELS_PERIODIC_H

#include <string.h>

#include "../kernels.h"
#include "../shared/panels.h"
#include "../shared/vec.h"
#include "../shared/vecmath.h"

#define FDL_PER_CYCLE (T)0.15915494309189533577 /* 1 / (2 pi) */
#define FDL_CYCLE (T)6.28318530717958647693

/* One number's waves, and what is made of them. */
typedef struct {
    const T *frequencies, *phases, *kernel, *bias;
    size_t count, waves, outputs, sines;
} wave_number;

INLINE wave_number number_of(const void *args, size_t n) {
    const periodic_args *a = args;
    const T *frequencies = a->frequencies, *phases = a->phases, *kernel = a->w, *bias = a->b;
    const size_t k = a->count, waves = k * (a->sines ? 2 : 1), own = a->shared ? 0 : n;
    return (wave_number){frequencies + n * k, phases ? phases + n * k : NULL, kernel + own * a->outputs * waves,
                         bias + own * a->outputs, k, waves, a->outputs, a->sines};
}

/* Wave j of numbers z; the sine where one is wanted. */
INLINE V wave_of(const wave_number *of, size_t j, V z, V *sine) {
    V cycles = z * of->frequencies[j];
    if (of->phases) cycles += of->phases[j] * FDL_PER_CYCLE;
    return cycle_cosine(cycles, sine);
}

/* `some` outputs from o on, of the waves (waves, VL): y + i of each, which lies FDL_PANEL further than the one before. */
INLINE void wave_outputs(const wave_number *of, size_t some, size_t o, const V *wave, T *y) {
    V sum[4];
#pragma GCC unroll 4
    for (size_t i = 0; i < some; i++) sum[i] = splat(of->bias[o + i]);
    for (size_t j = 0; j < of->waves; j++)
#pragma GCC unroll 4
        for (size_t i = 0; i < some; i++) sum[i] += wave[j] * of->kernel[(o + i) * of->waves + j];
#pragma GCC unroll 4
    for (size_t i = 0; i < some; i++) store(y + (o + i) * FDL_PANEL, sum[i]);
}

static void periodic_forward(const void *args, fdl_range range, const fdl_step *step, void *scratch) {
    const periodic_forward_args *a = args;
    const T *x = a->x;
    T *y = a->y;
    V *wave = scratch;
    const size_t inputs = a->inputs, keeps = a->keeps != 0, width = a->outputs + keeps;
    (void)step;
    for (size_t p = range.p0; p < range.p1; p++)
        for (size_t n = range.f0 / FDL_UNIT; n < range.f1 / FDL_UNIT; n++) {
            const wave_number of = number_of(args, n);
            for (size_t i = 0; i < FDL_PANEL; i += VL) {
                V z = load(x + (p * inputs + n) * FDL_PANEL + i);
                T *to = y + (p * inputs + n) * width * FDL_PANEL + i;
                if (keeps) store(to, z), to += FDL_PANEL;
                for (size_t j = 0; j < of.count; j++) wave[j] = wave_of(&of, j, z, of.sines ? wave + of.count + j : NULL);
                size_t o = 0;
                for (; o + 4 <= of.outputs; o += 4) wave_outputs(&of, 4, o, wave, to);
                if (of.outputs - o == 3) wave_outputs(&of, 3, o, wave, to);
                if (of.outputs - o == 2) wave_outputs(&of, 2, o, wave, to);
                if (of.outputs - o == 1) wave_outputs(&of, 1, o, wave, to);
            }
        }
}

/* Where one number's gradients go, and what they come from. */
typedef struct {
    const T *x, *dy; /* of the number, in panel 0 */
    T *dx;
    T *dfrequencies, *dphases, *dkernel; /* of the number */
    size_t x_step, y_step;               /* from panel to panel */
} wave_gradients;

/* The sums over the batch for wave j: of its frequency, its phase, and its column of the kernel, two with a sine. `outputs`
 * and `sines` are the number's own, passed apart as constants where that is worth it. */
INLINE void wave_backward(const wave_number *of, const wave_gradients *to, size_t outputs, int sines, size_t j, size_t batch) {
    V by_frequency = {0}, by_phase = {0}, by_cosine[FDL_MAX_WAVE_OUTPUTS], by_sine[FDL_MAX_WAVE_OUTPUTS];
    const T *row = of->kernel + j, *second = row + of->count;
    const V turn = splat(of->frequencies[j] * FDL_CYCLE);
    for (size_t o = 0; o < outputs; o++) by_cosine[o] = by_sine[o] = (V){0};
    for (size_t p = 0; p * FDL_PANEL < batch; p++)
        for (size_t i = 0, samples = samples_in(batch, p); i < samples; i += VL) {
            const VI in_batch = lanes_below(i, samples);
            const T *dy = to->dy + p * to->y_step + i;
            V z = load(to->x + p * to->x_step + i), sine, cosine = wave_of(of, j, z, &sine);
            V along = {0}, across = {0};
            for (size_t o = 0; o < outputs; o++) {
                V slope = keep(in_batch, load(dy + o * FDL_PANEL));
                by_cosine[o] += cosine * slope;
                along += slope * row[o * of->waves];
                if (sines) by_sine[o] += sine * slope, across += slope * second[o * of->waves];
            }
            V turned = cosine * across - sine * along;
            by_phase += turned;
            by_frequency += turned * z;
            if (to->dx) {
                T *dx = to->dx + p * to->x_step + i;
                store(dx, load(dx) + turned * turn);
            }
        }
    to->dfrequencies[j] = sum_lanes(by_frequency) * FDL_CYCLE;
    if (to->dphases) to->dphases[j] = sum_lanes(by_phase);
    for (size_t o = 0; o < outputs; o++) {
        to->dkernel[o * of->waves + j] = sum_lanes(by_cosine[o]);
        if (sines) to->dkernel[o * of->waves + of->count + j] = sum_lanes(by_sine[o]);
    }
}

/* dx = dy of the number itself, or zero; dbias = the sums of dy */
INLINE void bias_backward(const wave_number *of, const wave_gradients *to, int keeps, size_t batch, T *dbias) {
    for (size_t o = 0; o < of->outputs; o++) {
        V sum = {0};
        for (size_t p = 0; p * FDL_PANEL < batch; p++)
            for (size_t i = 0, samples = samples_in(batch, p); i < samples; i += VL)
                sum += keep(lanes_below(i, samples), load(to->dy + p * to->y_step + o * FDL_PANEL + i));
        dbias[o] = sum_lanes(sum);
    }
    for (size_t p = 0; to->dx && p * FDL_PANEL < batch; p++)
        for (size_t i = 0; i < FDL_PANEL; i += VL)
            store(to->dx + p * to->x_step + i, keeps ? load(to->dy - FDL_PANEL + p * to->y_step + i) : (V){0});
}

/* Zeros from `count` on to the end of a unit. */
INLINE void clear_padding(T *vector, size_t count) {
    memset(vector + count, 0, (FDL_UNIT - count % FDL_UNIT) % FDL_UNIT * sizeof(T));
}

/* The paddings of all gradients, which the optimizer steps too: by who has number n. */
INLINE void clear_paddings(const periodic_backward_args *a, const wave_number *of, size_t n) {
    const size_t last = n + 1 == a->inputs, size = of->outputs * of->waves;
    if (last) clear_padding(a->dfrequencies, a->inputs * of->count);
    if (last && a->dphases) clear_padding(a->dphases, a->inputs * of->count);
    if (a->shared) {
        clear_padding((T *)a->dw + n * a->dw_step, size);
        clear_padding((T *)a->db + n * a->db_step, of->outputs);
    } else if (last) {
        clear_padding(a->dw, a->inputs * size);
        clear_padding(a->db, a->inputs * of->outputs);
    }
}

static void periodic_backward(const void *args, fdl_range range, const fdl_step *step, void *scratch) {
    const periodic_backward_args *a = args;
    const size_t inputs = a->inputs, keeps = a->keeps != 0, width = a->outputs + keeps;
    (void)scratch;
    for (size_t n = range.f0 / FDL_UNIT; n < range.f1 / FDL_UNIT; n++) {
        const wave_number of = number_of(args, n);
        const wave_gradients to = {(const T *)a->x + n * FDL_PANEL,
                                   (const T *)a->dy + (n * width + keeps) * FDL_PANEL,
                                   a->dx ? (T *)a->dx + n * FDL_PANEL : NULL,
                                   (T *)a->dfrequencies + n * of.count,
                                   a->dphases ? (T *)a->dphases + n * of.count : NULL,
                                   (T *)a->dw + n * a->dw_step,
                                   inputs * FDL_PANEL,
                                   inputs * width * FDL_PANEL};
        bias_backward(&of, &to, (int)keeps, step->batch, (T *)a->db + n * a->db_step);
        for (size_t j = 0; j < of.count; j++) {
            if (of.outputs == 3 && !of.sines) wave_backward(&of, &to, 3, 0, j, step->batch);
            else wave_backward(&of, &to, of.outputs, of.sines != 0, j, step->batch);
        }
        clear_paddings(a, &of, n);
    }
}

#endif

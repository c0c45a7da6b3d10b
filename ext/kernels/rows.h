/* Rows into panels and out of them: the batch's rows are read by index and transposed VL by VL in registers. */
#ifndef FDL_KERNELS_ROWS_H
#define FDL_KERNELS_ROWS_H

#include "../kernels.h"
#include "../shared/panels.h"
#include "../shared/vec.h"

static void gather(const void *args, fdl_range range, const fdl_step *step, void *scratch) {
    const gather_args *a = args;
    T *out = a->out;
    const fdl_feed *feed = &step->feed[a->feed];
    size_t n = a->features;
    (void)scratch;
    for (size_t p = range.p0; p < range.p1; p++)
        for (size_t s = 0; s < FDL_PANEL; s += VL) {
            const T *row[VL];
            size_t samples = samples_in(step->batch, p), f = range.f0;
            if (s >= samples) break;
            for (size_t i = 0; i < VL; i++) {
                /* lanes beyond the batch repeat its last row */
                size_t sample = s + i < samples ? s + i : samples - 1;
                size_t number = row_of(step, p * FDL_PANEL + sample);
                row[i] = (const T *)(feed->data + (ptrdiff_t)number * feed->stride);
            }
            T *to = out + p * n * FDL_PANEL + s;
            for (; f + VL <= range.f1; f += VL) {
                V block[VL];
                for (size_t i = 0; i < VL; i++) block[i] = loadu(row[i] + f);
                transpose(block);
                for (size_t i = 0; i < VL; i++) store(to + (f + i) * FDL_PANEL, block[i]);
            }
            for (; f < range.f1; f++)
                for (size_t i = 0; i < VL; i++) to[f * FDL_PANEL + i] = row[i][f];
        }
}

static void scatter(const void *args, fdl_range range, const fdl_step *step, void *scratch) {
    const scatter_args *a = args;
    const T *x = a->x;
    const fdl_feed *feed = &step->feed[a->feed];
    size_t n = a->features;
    (void)scratch;
    for (size_t p = range.p0; p < range.p1; p++) {
        size_t samples = samples_in(step->batch, p);
        for (size_t s = 0; s < samples; s += VL) {
            const T *from = x + p * n * FDL_PANEL + s;
            size_t rows = samples - s < VL ? samples - s : VL, f = range.f0;
            char *first = feed->data + (ptrdiff_t)(step->start + p * FDL_PANEL + s) * feed->stride;
            for (; f + VL <= range.f1; f += VL) {
                V block[VL];
                for (size_t i = 0; i < VL; i++) block[i] = load(from + (f + i) * FDL_PANEL);
                transpose(block);
                for (size_t i = 0; i < rows; i++)
                    storeu((T *)(first + (ptrdiff_t)i * feed->stride) + f, block[i]);
            }
            for (; f < range.f1; f++)
                for (size_t i = 0; i < rows; i++)
                    ((T *)(first + (ptrdiff_t)i * feed->stride))[f] = from[f * FDL_PANEL + i];
        }
    }
}

/* x - x is zero, or NaN when x is NaN or infinite; one NaN makes the sum one. */
static int all_finite(const void *data, size_t n) {
    const T *x = data;
    V sum[4] = {{0}};
    size_t i = 0;
    for (; i + 4 * VL <= n; i += 4 * VL)
        for (size_t j = 0; j < 4; j++) {
            V v = loadu(x + i + j * VL);
            sum[j] += v - v;
        }
    T rest = 0;
    for (; i < n; i++) rest += x[i] - x[i];
    return sum_lanes((sum[0] + sum[1]) + (sum[2] + sum[3])) + rest == 0;
}

#endif

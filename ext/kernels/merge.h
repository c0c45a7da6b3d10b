/* Sums and products of whole arrays, and features from one array to another: where branches of a
 * network meet. */
#ifndef FDL_KERNELS_MERGE_H
#define FDL_KERNELS_MERGE_H

#include <string.h>

#include "../kernels.h"
#include "../shared/blocks.h"
#include "../shared/vec.h"

/* y = alpha a + beta b; without b, alpha a */
static void add(const void *args, fdl_range range, const fdl_step *step, void *scratch) {
    const add_args *a = args;
    const T *first = a->first, *second = a->second;
    T *y = a->y, alpha = (T)a->alpha, beta = (T)a->beta;
    size_t n = a->features;
    (void)step, (void)scratch;
    for (size_t p = range.p0; p < range.p1; p++) {
        size_t begin = (p * n + range.f0) * FDL_PANEL, end = (p * n + range.f1) * FDL_PANEL;
        if (second)
            for (size_t i = begin; i < end; i += VL) store(y + i, alpha * load(first + i) + beta * load(second + i));
        else
            for (size_t i = begin; i < end; i += VL) store(y + i, alpha * load(first + i));
    }
}

/* y = a b */
static void multiply(const void *args, fdl_range range, const fdl_step *step, void *scratch) {
    const multiply_args *a = args;
    const T *first = a->first, *second = a->second;
    T *y = a->y;
    size_t n = a->features;
    (void)step, (void)scratch;
    for (size_t p = range.p0; p < range.p1; p++)
        for (size_t i = (p * n + range.f0) * FDL_PANEL, end = (p * n + range.f1) * FDL_PANEL; i < end; i += VL)
            store(y + i, load(first + i) * load(second + i));
}

/* y's features from the second offset on = x's from the first on */
static void copy_features(const void *args, fdl_range range, const fdl_step *step, void *scratch) {
    const copy_features_args *a = args;
    const T *x = a->x;
    T *y = a->y;
    (void)step, (void)scratch;
    for (size_t p = range.p0; p < range.p1; p++)
        memcpy(y + (p * a->y_features + a->y_first + range.f0) * FDL_PANEL,
               x + (p * a->x_features + a->x_first + range.f0) * FDL_PANEL, (range.f1 - range.f0) * FDL_PANEL * sizeof(T));
}

/* y = x + b */
static void add_bias(const void *args, fdl_range range, const fdl_step *step, void *scratch) {
    const add_bias_args *a = args;
    const T *x = a->x, *b = a->b;
    T *y = a->y;
    size_t n = a->features;
    (void)step, (void)scratch;
    for (size_t p = range.p0; p < range.p1; p++)
        for (size_t f = range.f0; f < range.f1; f++) {
            size_t at = (p * n + f) * FDL_PANEL;
            for (size_t i = at; i < at + FDL_PANEL; i += VL) store(y + i, load(x + i) + b[f]);
        }
}

/* One block of bias_grad: features [f, f + m). */
INLINE void bias_block(const void *args, size_t f, size_t m, size_t batch) {
    const bias_grad_args *a = args;
    store((T *)a->db + f, sum_block(a->features, f, m, batch, value_term, a->dy));
}

/* db = the sum of dy over the samples */
static void bias_grad(const void *args, fdl_range range, const fdl_step *step, void *scratch) {
    (void)scratch;
    for_blocks(bias_block, args, range.f0, range.f1, step->batch);
}

/* total += part, element by element: the gradients of a parameter that several layers read */
static void add_weights(const void *args, fdl_range range, const fdl_step *step, void *scratch) {
    const add_weights_args *a = args;
    const T *part = a->part;
    T *total = a->total;
    (void)step, (void)scratch;
    for (size_t i = range.f0; i < range.f1; i += VL) store(total + i, load(total + i) + load(part + i));
}

#endif

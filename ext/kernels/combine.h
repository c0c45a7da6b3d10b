/* Features from features, and over the samples: sums, the largest and the smallest of lists, products of matrices that each
 * sample has its own of, and weights as numbers that every sample has. What formulas of one's own need besides formula.h. */
#ifndef FDL_KERNELS_COMBINE_H
#define FDL_KERNELS_COMBINE_H

#include "../kernels.h"
#include "../shared/blocks.h"
#include "../shared/panels.h"
#include "../shared/vec.h"
#include "formula.h"

/* y[j] = scale times what `how` makes of x's features index[starts[j]] .. index[starts[j + 1] - 1]; of none, 0 */
static void combine(const void *args, fdl_range range, const fdl_step *step, void *scratch) {
    const combine_args *a = args;
    const T *x = a->x;
    const int32_t *starts = a->starts, *index = a->index;
    const T scale = (T)a->scale;
    T *y = a->y;
    (void)step, (void)scratch;
    for (size_t p = range.p0; p < range.p1; p++)
        for (size_t f = range.f0; f < range.f1; f++) {
            const T *from = x + p * a->inputs * FDL_PANEL;
            T *to = y + (p * a->features + f) * FDL_PANEL;
            const int32_t *each = index + starts[f], *end = index + starts[f + 1];
            for (size_t i = 0; i < FDL_PANEL; i += VL) {
                V sum = each < end ? load(from + (size_t)each[0] * FDL_PANEL + i) : (V){0};
                for (const int32_t *at = each + 1; at < end; at++) {
                    V v = load(from + (size_t)at[0] * FDL_PANEL + i);
                    if (a->how == FDL_SUM_OF)
                        sum += v;
                    else if (a->how == FDL_PRODUCT_OF)
                        sum *= v;
                    else
                        sum = a->how == FDL_LARGEST_OF ? formula_maximum(sum, v, v) : formula_minimum(sum, v, v);
                }
                store(to + i, scale * sum);
            }
        }
}

/* y = scale times the sum of x over the samples, the same for every sample */
static void over_samples(const void *args, fdl_range range, const fdl_step *step, void *scratch) {
    const over_samples_args *a = args;
    const size_t n = a->features, panels = (step->batch + FDL_PANEL - 1) / FDL_PANEL;
    T *y = a->y;
    (void)scratch;
    for (size_t f = range.f0; f < range.f1; f += VL) {
        const size_t m = range.f1 - f < VL ? range.f1 - f : VL;
        T sum[VL];
        V sums = sum_block(n, f, m, step->batch, value_term, a->x) * (T)a->scale;
        __builtin_memcpy(sum, &sums, sizeof sum);
        for (size_t p = 0; p < panels; p++)
            for (size_t j = 0; j < m; j++)
                for (size_t i = 0; i < FDL_PANEL; i += VL) store(y + (p * n + f + j) * FDL_PANEL + i, splat(sum[j]));
    }
}

/* Each sample's c = a b, group by group. Strides are in features: those of a along groups, rows and the inner axis, and of b
 * along groups, the inner axis and columns, so that a transposed matrix, or one for all groups, needs no copy. */
static void product_of_samples(const void *args, fdl_range range, const fdl_step *step, void *scratch) {
    const product_of_samples_args *g = args;
    const size_t rows = g->rows, inner = g->inner, columns = g->columns;
    (void)step, (void)scratch;
    for (size_t p = range.p0; p < range.p1; p++) {
        const T *a = (const T *)g->a + p * g->a_features * FDL_PANEL, *b = (const T *)g->b + p * g->b_features * FDL_PANEL;
        T *c = (T *)g->c + p * g->groups * rows * columns * FDL_PANEL;
        for (size_t group = 0; group < g->groups; group++)
            for (size_t r = 0; r < rows; r++)
                for (size_t o = 0; o < columns; o++, c += FDL_PANEL)
                    for (size_t i = 0; i < FDL_PANEL; i += VL) {
                        V sum = {0};
                        for (size_t k = 0; k < inner; k++)
                            sum += load(a + (group * g->a_group + r * g->a_row + k * g->a_inner) * FDL_PANEL + i) *
                                   load(b + (group * g->b_group + k * g->b_inner + o * g->b_column) * FDL_PANEL + i);
                        store(c + i, sum);
                    }
    }
}

/* Where element e of a weight (inputs, outputs) lies: in strips, or row by row. */
INLINE size_t element_at(size_t e, size_t inputs, size_t outputs, size_t strips) {
    return strips ? column(inputs, e % outputs) + e / outputs * FDL_STRIP : e;
}

/* y = the weight's elements, row by row, the same for every sample */
static void weight_values(const void *args, fdl_range range, const fdl_step *step, void *scratch) {
    const weight_values_args *a = args;
    const T *w = a->w;
    T *y = a->y;
    const size_t n = a->inputs * a->outputs;
    (void)step, (void)scratch;
    for (size_t p = range.p0; p < range.p1; p++)
        for (size_t f = range.f0; f < range.f1; f++)
            for (size_t i = 0; i < FDL_PANEL; i += VL)
                store(y + (p * n + f) * FDL_PANEL + i, splat(w[element_at(f, a->inputs, a->outputs, a->strips)]));
}

/* dw = the sum of dy over the samples, laid out as the weight */
static void weight_values_grad(const void *args, fdl_range range, const fdl_step *step, void *scratch) {
    const weight_values_grad_args *a = args;
    const size_t n = a->inputs * a->outputs;
    T *dw = a->dw;
    (void)range, (void)scratch;
    for (size_t f = 0; f < n; f += VL) {
        const size_t m = n - f < VL ? n - f : VL;
        T sum[VL];
        V sums = sum_block(n, f, m, step->batch, value_term, a->dy);
        __builtin_memcpy(sum, &sums, sizeof sum);
        for (size_t j = 0; j < m; j++) dw[element_at(f + j, a->inputs, a->outputs, a->strips)] = sum[j];
    }
}

#endif

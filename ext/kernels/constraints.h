/* Constraints: what weights are brought to after a step. */
#ifndef FDL_KERNELS_CONSTRAINTS_H
#define FDL_KERNELS_CONSTRAINTS_H

#include "../kernels.h"
#include "../shared/panels.h"
#include "../shared/vec.h"

/* The factor for weights whose squares sum to `squares`, after which their norm is in the limits. */
INLINE T norm_factor(const limit_norm_args *a, double squares) {
    double norm = __builtin_sqrt(squares), allowed = norm < a->least ? a->least : norm > a->most ? a->most : norm;
    return (T)((a->rate * allowed + (1 - a->rate) * norm) / (norm + 1e-7)); /* Keras's epsilon */
}

/* Where column f starts, and how far it is from row to row. */
INLINE size_t start_of(const limit_norm_args *a, size_t f) { return a->by_rows ? f : column(a->inputs, f); }
INLINE size_t between_rows(const limit_norm_args *a) { return a->by_rows ? a->outputs : FDL_STRIP; }

/* One norm of all weights in rows [r0, r1). */
INLINE void limit_rows(T *w, size_t r0, size_t r1, const limit_norm_args *a) {
    const size_t n = a->outputs, apart = between_rows(a);
    double squares = 0;
    for (size_t f = 0; f < n; f++)
        for (size_t row = r0; row < r1; row++) {
            double x = (double)w[start_of(a, f) + row * apart];
            squares += x * x;
        }
    const T by = norm_factor(a, squares);
    for (size_t f = 0; f < n; f++)
        for (size_t row = r0; row < r1; row++) w[start_of(a, f) + row * apart] *= by;
}

/* The norm of each of the unit's `count` columns, the first of which begins at w. */
INLINE void limit_columns(T *w, size_t count, const limit_norm_args *a) {
    const size_t k = a->inputs, apart = between_rows(a);
    T by[FDL_UNIT];
    double sum[FDL_UNIT] = {0};
    for (size_t row = 0; row < k; row++)
        for (size_t i = 0; i < count; i++) sum[i] += (double)w[row * apart + i] * (double)w[row * apart + i];
    for (size_t i = 0; i < count; i++) by[i] = norm_factor(a, sum[i]);
    for (size_t row = 0; row < k; row++)
        for (size_t i = 0; i < count; i++) w[row * apart + i] *= by[i];
}

/* w times norm_factor: of each column, of each row, or of all. */
static void limit_norm(const void *args, fdl_range range, const fdl_step *step, void *scratch) {
    const limit_norm_args *a = args;
    T *w = a->w;
    (void)step, (void)scratch;
    if (a->norm_of == FDL_NORM_ALL) limit_rows(w, 0, a->inputs, a);
    if (a->norm_of == FDL_NORM_ROWS)
        for (size_t row = range.f0; row < range.f1; row++) limit_rows(w, row, row + 1, a);
    if (a->norm_of == FDL_NORM_COLUMNS)
        for (size_t f = range.f0; f < range.f1; f += FDL_UNIT)
            limit_columns(w + start_of(a, f), range.f1 - f < FDL_UNIT ? range.f1 - f : FDL_UNIT, a);
}

/* w = max(w, 0), NaN kept */
static void not_negative(const void *args, fdl_range range, const fdl_step *step, void *scratch) {
    const not_negative_args *a = args;
    T *w = a->w;
    (void)step, (void)scratch;
    for (size_t i = range.f0; i < range.f1; i += VL) store(w + i, larger(load(w + i), (V){0}));
}

#endif

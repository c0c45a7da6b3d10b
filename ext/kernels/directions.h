/* Steps that look at a whole parameter first: a direction takes the gradient's place, then the weights go along it by a
 * length that norms of both decide. Sums are in double, unit of columns by unit of columns, so that they do not depend on
 * which thread computes what. */
#ifndef FDL_KERNELS_DIRECTIONS_H
#define FDL_KERNELS_DIRECTIONS_H

#include <string.h>

#include "../kernels.h"
#include "../shared/panels.h"
#include "../shared/vec.h"
#include "optimizers.h"

#define FDL_SCRATCH_ROWS (FDL_SCRATCH / sizeof(T) / FDL_STRIP) /* of a strip */

/* What comes before a rule, for columns [f0, f1): the gradient that the rule then takes stays in dw. */
static void prepare_gradient(const void *args, fdl_range range, const fdl_step *step, void *scratch) {
    const prepare_gradient_args *a = args;
    rule_preparation prepare = preparation_of(step->rates, a->limit, a->decay, a->l1, a->l2);
    const double *squares = a->squares;
    T *w = a->w, *dw = a->dw;
    (void)scratch;
    if (squares) limit_by_norm(&prepare, *squares, a->limit);
    for (size_t f = range.f0; f < range.f1; f += FDL_UNIT) {
        size_t at = column(a->inputs, f);
        prepare_rows(&prepare, w + at, dw + at, dw + at, FDL_STRIP, a->inputs, FDL_UNIT);
    }
}

/* part = sums of squares of `count` columns of w and of dw, that begin there; a row follows the one before it by `apart`. */
INLINE void sum_both(const T *w, const T *dw, size_t apart, size_t rows, size_t count, double *part) {
    double sum[2][FDL_UNIT] = {{0}};
    part[0] = part[1] = 0;
    for (size_t row = 0; row < rows; row++)
        for (size_t i = 0; i < count; i++) {
            double x = (double)w[row * apart + i], y = (double)dw[row * apart + i];
            sum[0][i] += x * x;
            sum[1][i] += y * y;
        }
    for (size_t i = 0; i < count; i++) part[0] += sum[0][i], part[1] += sum[1][i];
}

/* Of the unit of columns from f on. */
INLINE size_t columns_from(size_t f, size_t n) { return n - f < FDL_UNIT ? n - f : FDL_UNIT; }

static void find_direction(const void *args, fdl_range range, const fdl_step *step, void *scratch) {
    const find_direction_args *a = args;
    rule_settings set = settings_of(step->rates, 1, a->constants);
    const T *w = a->w;
    T *dw = a->dw, *moved = scratch;
    double *part = a->part;
    set.rate[0] = -1;
    for (size_t f = range.f0; f < range.f1; f += FDL_UNIT) {
        const size_t begin = column(a->inputs, f);
        for (size_t row = 0, rows; row < a->inputs; row += rows) {
            rows = a->inputs - row < FDL_SCRATCH_ROWS ? a->inputs - row : FDL_SCRATCH_ROWS;
            T *g = dw + begin + row * FDL_STRIP;
            rule_place place = place_at(place_of(dw, a->slots), begin + row * FDL_STRIP);
            place.w = moved; /* zeros, in place of the weights */
            memset(moved, 0, rows * FDL_STRIP * sizeof(T));
            rule_steppers[a->rule](&set, place, g, FDL_STRIP, rows, FDL_UNIT);
            for (size_t r = 0; r < rows; r++) memcpy(g + r * FDL_STRIP, moved + r * FDL_STRIP, FDL_UNIT * sizeof(T));
        }
        sum_both(w + begin, dw + begin, FDL_STRIP, a->inputs, columns_from(f, a->outputs), part + 2 * (f / FDL_UNIT));
    }
}

/* Where column f of a (k, n) matrix begins, and how far it is from row to row. */
INLINE size_t matrix_column(size_t by_rows, size_t k, size_t f) { return by_rows ? f : column(k, f); }
INLINE size_t matrix_rows_apart(size_t by_rows, size_t n) { return by_rows ? n : FDL_STRIP; }

/* The sum of squares of rows [r0, r1), lane by lane of a unit of columns. */
INLINE void add_squares(const T *from, size_t apart, size_t r0, size_t r1, size_t count, double *sum) {
    for (size_t row = r0; row < r1; row++)
        for (size_t i = 0; i < count; i++) sum[i] += (double)from[row * apart + i] * (double)from[row * apart + i];
}

INLINE void move_mean(T *mean, double to, double share) { *mean += (T)((to - (double)*mean) * share); }

static void adafactor_means(const void *args, fdl_range range, const fdl_step *step, void *scratch) {
    const adafactor_means_args *a = args;
    const size_t k = a->inputs, n = a->outputs, apart = matrix_rows_apart(a->by_rows, n);
    const double share = step->rates[3];
    const T *dw = a->dw;
    T *mean = a->mean;
    (void)scratch;
    if (a->of_rows)
        for (size_t row = range.f0; row < range.f1; row++) {
            double sum[FDL_UNIT] = {0}, total = 0;
            for (size_t f = 0; f < n; f += FDL_UNIT)
                add_squares(dw + matrix_column(a->by_rows, k, f), apart, row, row + 1, columns_from(f, n), sum);
            for (size_t i = 0; i < FDL_UNIT; i++) total += sum[i];
            move_mean(mean + row, total / (double)n + a->least, share);
        }
    else
        for (size_t f = range.f0; f < range.f1; f += FDL_UNIT) {
            double sum[FDL_UNIT] = {0};
            const size_t count = columns_from(f, n);
            add_squares(dw + matrix_column(a->by_rows, k, f), apart, 0, k, count, sum);
            for (size_t i = 0; i < count; i++) move_mean(mean + f + i, sum[i] / (double)k + a->least, share);
        }
}

static void adafactor_direction(const void *args, fdl_range range, const fdl_step *step, void *scratch) {
    const adafactor_direction_args *a = args;
    const size_t k = a->inputs, n = a->outputs, apart = matrix_rows_apart(a->by_rows, n);
    const T *w = a->w, *rows = a->rows, *columns = a->columns;
    T *dw = a->dw;
    double *part = a->part, total = 0;
    (void)step, (void)scratch;
    for (size_t row = 0; row < k; row++) total += (double)rows[row];
    for (size_t f = range.f0; f < range.f1; f += FDL_UNIT) {
        const size_t begin = matrix_column(a->by_rows, k, f), count = columns_from(f, n);
        for (size_t row = 0; row < k; row++) {
            const T times = total == 0 ? 0 : (T)((double)rows[row] * (double)k / total);
            T *g = dw + begin + row * apart;
            for (size_t i = 0; i < count; i++) {
                T v = times * columns[f + i];
                g[i] = v == 0 ? g[i] : g[i] / FDL_SQRT(v);
            }
        }
        sum_both(w + begin, dw + begin, apart, k, count, part + 2 * (f / FDL_UNIT));
    }
}

/* What the direction is multiplied with beside the rate. */
static double length_of(const step_along_args *a) {
    const double *part = a->part, size = (double)a->inputs * (double)a->outputs;
    double of_w = 0, of_direction = 0;
    for (size_t i = 0; i < a->parts; i++) of_w += part[2 * i], of_direction += part[2 * i + 1];
    of_w = __builtin_sqrt(of_w), of_direction = __builtin_sqrt(of_direction);
    if (a->length == FDL_LENGTH_LAMB) return of_w > 0 && of_direction > 0 ? of_w / of_direction : 1;
    if (a->length == FDL_LENGTH_ADAFACTOR) {
        const double root = __builtin_sqrt(size), scale = of_w / root, over = of_direction / root / a->own[1];
        return (scale < a->own[0] ? a->own[0] : scale) / (over <= 1 ? 1 : over); /* NaN stays */
    }
    return a->own[0];
}

static void step_along(const void *args, fdl_range range, const fdl_step *step, void *scratch) {
    const step_along_args *a = args;
    const T by = (T)(step->rates[1] * a->rate_factor * length_of(a));
    const T *dw = a->dw;
    T *w = a->w;
    (void)scratch;
    for (size_t f = range.f0; f < range.f1; f += FDL_UNIT) {
        const size_t begin = column(a->inputs, f), count = columns_from(f, a->outputs);
        for (size_t row = 0; row < a->inputs; row++)
            for (size_t i = 0; i < count; i++) w[begin + row * FDL_STRIP + i] -= by * dw[begin + row * FDL_STRIP + i];
    }
}

#endif

/* Rows of tables, looked up by codes: whole numbers from 0 on, in the elements' type. Several columns of codes have each a
 * table of its own, one below the other in one array. */
#ifndef FDL_KERNELS_EMBEDDING_H
#define FDL_KERNELS_EMBEDDING_H

#include <string.h>

#include "../kernels.h"
#include "../shared/panels.h"
#include "../shared/vec.h"
#include "optimizers.h"

/* Column c's codes, and the table that they look into. */
typedef struct {
    double first, least, rows;
} code_column;

INLINE code_column column_of(const double *columns, size_t count, size_t c, size_t zero_missing) {
    return (code_column){columns[c], zero_missing ? 1 : 0, columns[count + c]};
}

/* Whether there is a row for the code, and its number: a code that no table has, or NaN, never leads out of one. */
INLINE int has_row(code_column of, T code) { return (double)code >= of.least && (double)code < of.rows; }
INLINE size_t row_number(code_column of, T code) { return (size_t)of.first + (size_t)code; }

/* y = each code's row */
static void embedding_forward(const void *args, fdl_range range, const fdl_step *step, void *scratch) {
    const embedding_forward_args *a = args;
    const T *x = a->x, *table = a->table;
    T *y = a->y;
    const size_t count = a->inputs, width = a->width, n = count * width;
    (void)step, (void)scratch;
    for (size_t p = range.p0; p < range.p1; p++)
        for (size_t f = range.f0, end; f < range.f1; f = end) {
            const size_t c = f / width;
            const code_column of = column_of(a->columns, count, c, a->zero_missing);
            const T *code = x + (p * count + c) * FDL_PANEL;
            size_t at[FDL_PANEL];
            T known[FDL_PANEL];
            end = (c + 1) * width < range.f1 ? (c + 1) * width : range.f1;
            for (size_t i = 0; i < FDL_PANEL; i++) {
                known[i] = (T)has_row(of, code[i]);
                at[i] = known[i] ? row_number(of, code[i]) * width : 0;
            }
            for (; f < end; f++) {
                T *to = y + (p * n + f) * FDL_PANEL;
                for (size_t i = 0; i < FDL_PANEL; i++) to[i] = known[i] ? table[at[i] + f - c * width] : 0;
            }
        }
}

/* A batch's codes, and the gradients of the rows that they led to. */
typedef struct {
    const T *x, *dy;
    const double *columns;
    size_t count, width, zero_missing;
} coded;

/* Calls each(context, row, dy) for each code that has a row: sample by sample of a column, column by column of a panel. The
 * row's gradient begins at dy; its next number lies FDL_PANEL further. */
typedef void (*row_body)(void *context, size_t row, const T *dy);
INLINE void for_rows_read(row_body each, void *context, coded codes, const fdl_step *step) {
    const size_t n = codes.count * codes.width;
    for (size_t p = 0; p * FDL_PANEL < step->batch; p++)
        for (size_t c = 0; c < codes.count; c++) {
            const code_column of = column_of(codes.columns, codes.count, c, codes.zero_missing);
            const T *code = codes.x + (p * codes.count + c) * FDL_PANEL;
            const T *from = codes.dy + (p * n + c * codes.width) * FDL_PANEL;
            for (size_t i = 0, samples = samples_in(step->batch, p); i < samples; i++)
                if (has_row(of, code[i])) each(context, row_number(of, code[i]), from + i);
        }
}

/* Elements [f0, f1) of a table's gradient. */
typedef struct {
    T *dtable;
    size_t width, f0, f1;
} table_sums;

INLINE void add_to_table(void *context, size_t row, const T *dy) {
    const table_sums *to = context;
    const size_t first = row * to->width, last = first + to->width;
    size_t e = first < to->f0 ? to->f0 : first, end = last < to->f1 ? last : to->f1;
    for (; e < end; e++) to->dtable[e] += dy[(e - first) * FDL_PANEL];
}

/* dtable = the sum of dy over the samples of each row's code, in the order of the samples: elements [f0, f1) of it. */
static void embedding_backward(const void *args, fdl_range range, const fdl_step *step, void *scratch) {
    const embedding_backward_args *a = args;
    const size_t padded = (range.f1 + FDL_UNIT - 1) / FDL_UNIT * FDL_UNIT;
    table_sums to = {a->dtable, a->width, range.f0, range.f1};
    (void)scratch;
    memset(to.dtable + range.f0, 0, (padded - range.f0) * sizeof(T));
    for_rows_read(add_to_table, &to, (coded){a->x, a->dy, a->columns, a->inputs, a->width, a->zero_missing}, step);
}

#define FDL_ROW_PIECE 64 /* numbers of a row that are stepped at once */

/* The optimizer's step on a row of `width` numbers that lies anywhere: through aligned room. Beyond the row, and in slots
 * that the rule does not keep, there are zeros. */
static void step_row(const embedding_step_args *a, const rule_settings *set, const rule_preparation *prepare, size_t row) {
    const size_t width = a->width;
    for (size_t begin = 0, n; begin < width; begin += n) {
        n = width - begin < FDL_ROW_PIECE ? width - begin : FDL_ROW_PIECE;
        const size_t at = row * width + begin, bytes = n * sizeof(T);
        _Alignas(64) T w[FDL_ROW_PIECE] = {0}, g[FDL_ROW_PIECE] = {0}, slot[FDL_MAX_SLOTS][FDL_ROW_PIECE] = {{0}};
        rule_place place = {w, {NULL}};
        memcpy(w, (T *)a->table + at, bytes);
        memcpy(g, (T *)a->sums + at, bytes);
        for (size_t i = 0; i < FDL_MAX_SLOTS; i++)
            if (a->slots[i]) memcpy(place.slot[i] = slot[i], (T *)a->slots[i] + at, bytes);
        if (a->prepare) prepare_rows(prepare, w, g, g, 0, 1, n);
        rule_steppers[a->rule](set, place, g, 0, 1, n);
        memcpy((T *)a->table + at, w, bytes);
        for (size_t i = 0; i < FDL_MAX_SLOTS; i++)
            if (a->slots[i]) memcpy((T *)a->slots[i] + at, slot[i], bytes);
    }
}

/* The rows of one thread's share, and how they are stepped. */
typedef struct {
    const embedding_step_args *a;
    rule_settings set;
    rule_preparation prepare;
    size_t first, end;
} row_steps;

INLINE void sum_row(void *context, size_t row, const T *dy) {
    const row_steps *t = context;
    if (row < t->first || row >= t->end) return;
    const size_t width = t->a->width;
    T *sums = (T *)t->a->sums + row * width, *seen = (T *)t->a->seen + row;
    if (*seen == 0) memset(sums, 0, width * sizeof(T));
    for (size_t e = 0; e < width; e++) sums[e] += dy[e * FDL_PANEL];
    *seen = 1;
}

INLINE void step_summed_row(void *context, size_t row, const T *dy) {
    const row_steps *t = context;
    (void)dy;
    if (row < t->first || row >= t->end) return;
    T *seen = (T *)t->a->seen + row;
    if (*seen != 0) step_row(t->a, &t->set, &t->prepare, row);
    *seen = 0;
}

/* Each row that the batch reads, and that is one of rows [f0, f1), is stepped by the sum of dy over the samples that read it,
 * in their order. How long that takes does not depend on how many rows there are. */
static void embedding_step(const void *args, fdl_range range, const fdl_step *step, void *scratch) {
    const embedding_step_args *a = args;
    const coded codes = {a->x, a->dy, a->columns, a->inputs, a->width, a->zero_missing};
    row_steps steps = {a, settings_of(step->rates, a->rate_factor, a->constants),
                       preparation_of(step->rates, a->limit, a->decay, a->l1, a->l2), range.f0, range.f1};
    (void)scratch;
    for_rows_read(sum_row, &steps, codes, step);
    for_rows_read(step_summed_row, &steps, codes, step);
}

#endif

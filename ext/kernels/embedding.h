/* Rows of tables, looked up by codes: whole numbers from 0 on, in the elements' type. Several columns of codes have each a
 * table of its own, one below the other in one array. */
#ifndef FDL_KERNELS_EMBEDDING_H
#define FDL_KERNELS_EMBEDDING_H

#include <string.h>

#include "../kernels.h"
#include "../shared/panels.h"
#include "../shared/vec.h"
#include "optimizers.h"

/* Codes (P, C, 32), and the tables that they look into: `columns` are the first row of each column's own table, and how many
 * rows it has. */
typedef struct {
    const T *x;
    const double *columns;
    size_t count, width, zero_missing;
} coded;

#define FDL_NO_ROW SIZE_MAX

/* The rows that a column's first `samples` codes of a panel lead to, and FDL_NO_ROW for the others. A code that no table has,
 * or NaN, never leads out of one. Not inlined, as add_reads below: a wheel has 2 MB for all builds. */
static __attribute__((noinline)) void rows_read(const coded *codes, size_t p, size_t c, size_t samples, size_t row[FDL_PANEL]) {
    const double first = codes->columns[c], least = codes->zero_missing ? 1 : 0, rows = codes->columns[codes->count + c];
    const T *code = codes->x + (p * codes->count + c) * FDL_PANEL;
    for (size_t i = 0; i < FDL_PANEL; i++) {
        const int has = i < samples && (double)code[i] >= least && (double)code[i] < rows;
        row[i] = has ? (size_t)first + (size_t)code[i] : FDL_NO_ROW;
    }
}

/* Asks for what lies at row `row` of an array, `bytes` a row, before it is needed: rows of large arrays lie far apart. */
INLINE void fetch_row(const void *array, size_t row, size_t bytes) {
    const char *from = (const char *)array + row * bytes;
    for (size_t line = 0; line < bytes; line += 64) __builtin_prefetch(from + line);
}

#define FDL_NEAR_BYTES ((size_t)1 << 20) /* an array no larger than this is in some cache anyway */

/* Features [e, end) of the rows that begin at `from`, to y's lanes: transposed VL by VL. */
INLINE void look_up(const T *const from[FDL_PANEL], size_t e, size_t end, T *y) {
    for (; e + VL <= end; e += VL, y += VL * FDL_PANEL)
        for (size_t s = 0; s < FDL_PANEL; s += VL) {
            V block[VL];
            for (size_t i = 0; i < VL; i++) block[i] = from[s + i] ? loadu(from[s + i] + e) : (V){0};
            transpose(block);
            for (size_t i = 0; i < VL; i++) store(y + i * FDL_PANEL + s, block[i]);
        }
    for (; e < end; e++, y += FDL_PANEL)
        for (size_t i = 0; i < FDL_PANEL; i++) y[i] = from[i] ? from[i][e] : 0;
}

/* y = each code's row */
static void embedding_forward(const void *args, fdl_range range, const fdl_step *step, void *scratch) {
    const embedding_forward_args *a = args;
    const coded codes = {a->x, a->columns, a->inputs, a->width, a->zero_missing};
    const T *table = a->table, *from[FDL_PANEL];
    T *y = a->y;
    const size_t width = a->width, n = a->inputs * width;
    const double *last = codes.columns + a->inputs - 1;
    const int far = (size_t)(last[0] + last[a->inputs]) * width * sizeof(T) > FDL_NEAR_BYTES;
    size_t row[FDL_PANEL];
    (void)step, (void)scratch;
    for (size_t p = range.p0; p < range.p1; p++) {
        for (size_t c = range.f0 / width; far && c * width < range.f1; c++) {
            rows_read(&codes, p, c, FDL_PANEL, row);
            for (size_t i = 0; i < FDL_PANEL; i++)
                if (row[i] != FDL_NO_ROW) fetch_row(table, row[i], width * sizeof(T));
        }
        for (size_t f = range.f0, end; f < range.f1; f = end) {
            const size_t c = f / width;
            end = (c + 1) * width < range.f1 ? (c + 1) * width : range.f1;
            rows_read(&codes, p, c, FDL_PANEL, row);
            for (size_t i = 0; i < FDL_PANEL; i++) from[i] = row[i] == FDL_NO_ROW ? NULL : table + row[i] * width;
            look_up(from, f - c * width, end - c * width, y + (p * n + f) * FDL_PANEL);
        }
    }
}

/* Adds dy of a column's 32 reads in a panel to the rows where `to` says that they are summed, read by read; NULL: to none. */
static __attribute__((noinline)) void add_reads(T *const to[FDL_PANEL], size_t width, const T *dy) {
    size_t e = 0;
    for (; e + VL <= width; e += VL)
        for (size_t s = 0; s < FDL_PANEL; s += VL) {
            V block[VL];
            for (size_t i = 0; i < VL; i++) block[i] = load(dy + (e + i) * FDL_PANEL + s);
            transpose(block);
            for (size_t i = 0; i < VL; i++)
                if (to[s + i]) storeu(to[s + i] + e, loadu(to[s + i] + e) + block[i]);
        }
    for (; e < width; e++)
        for (size_t i = 0; i < FDL_PANEL; i++)
            if (to[i]) to[i][e] += dy[e * FDL_PANEL + i];
}

/* dtable = the sum of dy over the samples of each row's code, in the order of the samples: elements [f0, f1) of it. */
static void embedding_backward(const void *args, fdl_range range, const fdl_step *step, void *scratch) {
    const embedding_backward_args *a = args;
    const coded codes = {a->x, a->columns, a->inputs, a->width, a->zero_missing};
    const size_t padded = (range.f1 + FDL_UNIT - 1) / FDL_UNIT * FDL_UNIT, width = a->width, n = a->inputs * width;
    T *dtable = a->dtable, *to[FDL_PANEL];
    size_t row[FDL_PANEL];
    (void)scratch;
    memset(dtable + range.f0, 0, (padded - range.f0) * sizeof(T));
    for (size_t p = 0; p * FDL_PANEL < step->batch; p++)
        for (size_t c = 0; c < a->inputs; c++) {
            const T *dy = (const T *)a->dy + (p * n + c * width) * FDL_PANEL;
            rows_read(&codes, p, c, samples_in(step->batch, p), row);
            for (size_t i = 0; i < FDL_PANEL; i++) {
                to[i] = NULL;
                if (row[i] == FDL_NO_ROW) continue;
                const size_t first = row[i] * width, last = first + width;
                if (first >= range.f0 && last <= range.f1) to[i] = dtable + first;
                else /* the range's ends may cut a row */
                    for (size_t e = first < range.f0 ? range.f0 : first; e < last && e < range.f1; e++)
                        dtable[e] += dy[(e - first) * FDL_PANEL + i];
            }
            add_reads(to, width, dy);
        }
}

/* The rows of one thread's share [first, end), and how they are stepped. A read is a code of the batch that leads to one:
 * number (p C + c) 32 + i. The sum of a row's gradients is kept where its first read has room, and `seen` holds for each row
 * that read's number from 1 on, 0 for rows that no read has come to. */
typedef struct {
    const embedding_step_args *a;
    rule_settings set;
    rule_preparation prepare;
    size_t first, end;
} row_steps;
INLINE int is_own(const row_steps *t, size_t row) { return row >= t->first && row < t->end; }

#define FDL_ROW_PIECE 64 /* numbers of a row that are stepped at once, where it does not lie in whole vectors */

/* The optimizer's step on a row of `width` numbers that lies anywhere, by its gradient: through aligned room, with zeros
 * beyond the row. */
static void step_any_row(const row_steps *t, size_t row, const T *sum) {
    const embedding_step_args *a = t->a;
    const size_t width = a->width;
    for (size_t begin = 0, n; begin < width; begin += n) {
        n = width - begin < FDL_ROW_PIECE ? width - begin : FDL_ROW_PIECE;
        const size_t at = row * width + begin, bytes = n * sizeof(T);
        _Alignas(64) T w[FDL_ROW_PIECE] = {0}, g[FDL_ROW_PIECE] = {0}, slot[FDL_MAX_SLOTS][FDL_ROW_PIECE] = {{0}};
        rule_place place = {w, {NULL}};
        memcpy(w, (T *)a->table + at, bytes);
        memcpy(g, sum + begin, bytes);
        for (size_t i = 0; i < FDL_MAX_SLOTS; i++)
            if (a->slots[i]) memcpy(place.slot[i] = slot[i], (T *)a->slots[i] + at, bytes);
        if (a->prepare) prepare_rows(&t->prepare, w, g, g, 0, 1, n);
        rule_steppers[a->rule](&t->set, place, g, 0, 1, n);
        memcpy((T *)a->table + at, w, bytes);
        for (size_t i = 0; i < FDL_MAX_SLOTS; i++)
            if (a->slots[i]) memcpy((T *)a->slots[i] + at, slot[i], bytes);
    }
}

/* The same; whole vectors are stepped where they lie. */
INLINE void step_row(const row_steps *t, size_t row, T *sum) {
    const embedding_step_args *a = t->a;
    const size_t width = a->width;
    if (width % VL) {
        step_any_row(t, row, sum);
        return;
    }
    const rule_place place = place_at(place_of(a->table, a->slots), row * width);
    if (a->prepare) prepare_rows(&t->prepare, place.w, sum, sum, 0, 1, width);
    rule_steppers[a->rule](&t->set, place, sum, 0, 1, width);
}

/* Asks for a row of the table and of the slots. */
INLINE void fetch_state(const row_steps *t, size_t row) {
    const size_t bytes = t->a->width * sizeof(T);
    fetch_row(t->a->table, row, bytes);
    for (size_t k = 0; k < FDL_MAX_SLOTS; k++)
        if (t->a->slots[k]) fetch_row(t->a->slots[k], row, bytes);
}

/* Adds dy of a panel's reads of a column to the sums of their rows; the first read of a row begins its sum. */
INLINE void sum_reads(const row_steps *t, const size_t row[FDL_PANEL], size_t read, const T *dy) {
    const size_t width = t->a->width;
    T *sums = t->a->sums, *to[FDL_PANEL];
    I *seen = t->a->seen;
    for (size_t i = 0; i < FDL_PANEL; i++) {
        to[i] = NULL;
        if (!is_own(t, row[i])) continue;
        if (seen[row[i]] == 0) {
            seen[row[i]] = (I)(read + i + 1);
            memset(sums + (read + i) * width, 0, width * sizeof(T));
            fetch_state(t, row[i]);
        }
        to[i] = sums + (size_t)(seen[row[i]] - 1) * width;
    }
    add_reads(to, width, dy);
}

/* Each row that the batch reads, and that is one of rows [f0, f1), is stepped by the sum of dy over the samples that read it,
 * in their order. How long that takes does not depend on how many rows there are, but for caches. */
static void embedding_step(const void *args, fdl_range range, const fdl_step *step, void *scratch) {
    const embedding_step_args *a = args;
    const coded codes = {a->x, a->columns, a->inputs, a->width, a->zero_missing};
    const row_steps steps = {a, settings_of(step->rates, a->rate_factor, a->constants),
                             preparation_of(step->rates, a->limit, a->decay, a->l1, a->l2), range.f0, range.f1};
    const size_t n = a->inputs * a->width;
    I *seen = a->seen;
    size_t row[FDL_PANEL];
    (void)scratch;
    for (size_t p = 0; p * FDL_PANEL < step->batch; p++) {
        const size_t samples = samples_in(step->batch, p);
        for (size_t c = 0; c < a->inputs; c++) {
            rows_read(&codes, p, c, samples, row);
            for (size_t i = 0; i < FDL_PANEL; i++)
                if (is_own(&steps, row[i])) __builtin_prefetch(seen + row[i], 1);
        }
        for (size_t c = 0; c < a->inputs; c++) {
            rows_read(&codes, p, c, samples, row);
            sum_reads(&steps, row, (p * a->inputs + c) * FDL_PANEL, (const T *)a->dy + (p * n + c * a->width) * FDL_PANEL);
        }
    }
    for (size_t p = 0, read = 0; p * FDL_PANEL < step->batch; p++)
        for (size_t c = 0; c < a->inputs; c++) {
            rows_read(&codes, p, c, samples_in(step->batch, p), row);
            for (size_t i = 0; i < FDL_PANEL; i++) /* again: what was asked for at the first read may have had to go */
                if (is_own(&steps, row[i])) fetch_state(&steps, row[i]);
            for (size_t i = 0; i < FDL_PANEL; i++, read++) {
                if (!is_own(&steps, row[i]) || (size_t)seen[row[i]] != read + 1) continue;
                step_row(&steps, row[i], (T *)a->sums + read * a->width);
                seen[row[i]] = 0;
            }
        }
}

#endif

/* Samples of several members (see kernels.h): one sample for all of them, their mean, and dense layers whose weights are each
 * member's own. Dense layers that members share are the kernels of dense layers.
 *
 * The weights of all members lie in one matrix, (count inputs, outputs) in strips: rows m inputs and on are member m's.
 */
#ifndef FDL_KERNELS_MEMBERS_H
#define FDL_KERNELS_MEMBERS_H

#include "../kernels.h"
#include "../shared/blocks.h"
#include "../shared/panels.h"
#include "../shared/tile.h"
#include "../shared/vec.h"

/* y = scale x for each of `count` members. */
static void repeat_members(const void *args, fdl_range range, const fdl_step *step, void *scratch) {
    const repeat_members_args *a = args;
    const T *x = a->x, scale = (T)a->scale;
    T *y = a->y;
    const size_t n = a->features * FDL_PANEL;
    (void)step, (void)scratch;
    for (size_t p = range.p0; p < range.p1; p++)
        for (size_t m = 0; m < a->count; m++)
            for (size_t i = range.f0 * FDL_PANEL; i < range.f1 * FDL_PANEL; i += VL)
                store(y + (p * a->count + m) * n + i, scale * load(x + p * n + i));
}

/* y = scale times the sum of x over `count` members. */
static void sum_members(const void *args, fdl_range range, const fdl_step *step, void *scratch) {
    const sum_members_args *a = args;
    const T *x = a->x, scale = (T)a->scale;
    T *y = a->y;
    const size_t n = a->features * FDL_PANEL;
    (void)step, (void)scratch;
    for (size_t p = range.p0; p < range.p1; p++)
        for (size_t i = range.f0 * FDL_PANEL; i < range.f1 * FDL_PANEL; i += VL) {
            V sum = {0};
            for (size_t m = 0; m < a->count; m++) sum += load(x + (p * a->count + m) * n + i);
            store(y + p * n + i, scale * sum);
        }
}

/* x dy, of a sample and a feature. */
INLINE V products_term(const void *args, block_vector at) {
    const sum_products_args *a = args;
    const T *x = a->x, *dy = a->dy;
    return keep(at.in_batch, load(x + at.offset) * load(dy + at.offset));
}

/* One block of sum_products: features [f, f + m). */
INLINE void products_block(const void *args, size_t f, size_t m, size_t batch) {
    const sum_products_args *a = args;
    store((T *)a->out + f, sum_block(a->features, f, m, batch, products_term, a));
}

/* out = the sum of x dy over the samples: the gradient of what each feature is multiplied with. */
static void sum_products(const void *args, fdl_range range, const fdl_step *step, void *scratch) {
    (void)scratch;
    for_blocks(products_block, args, range.f0, range.f1, step->batch);
}

/* One member's part of a kernel: its features [f0, f1) of `each`. */
typedef struct {
    const void *args;
    fdl_range range;
    const fdl_step *step;
    size_t member, f0, f1;
} member_part;

/* Calls part(context) for each member that features [f0, f1) of the range belong to, `each` to a member. */
INLINE void for_members(void (*part)(const member_part *of), const void *args, fdl_range range, const fdl_step *step,
                        size_t each) {
    for (size_t f = range.f0, end; f < range.f1; f = end) {
        size_t member = f / each;
        end = (member + 1) * each < range.f1 ? (member + 1) * each : range.f1;
        part(&(member_part){args, range, step, member, f - member * each, end - member * each});
    }
}

/* `rows` outputs of a member from f on, for all samples of the range. */
INLINE void member_forward_rows(void *context, int rows, size_t f) {
    const member_part *of = context;
    const member_dense_forward_args *a = of->args;
    const size_t k = a->inputs, n = a->outputs, m = of->member;
    const T *w = (const T *)a->w + column(a->count * k, f) + m * k * FDL_STRIP, *b = a->b;
    for (size_t p = of->range.p0; p < of->range.p1; p++) {
        const T *x = (const T *)a->x + (p * a->count + m) * k * FDL_PANEL;
        T *y = (T *)a->y + ((p * a->count + m) * n + f) * FDL_PANEL;
        for (size_t i = 0; i < vectors_for(samples_in(of->step->batch, p)) * VL; i += VL) {
            V acc[FDL_TILE_MAX][2];
            tile_in_blocks(rows, 1, k, a->block, w, 1, FDL_STRIP, x + i, y + i, acc);
            for (int r = 0; b && r < rows; r++) acc[r][0] += b[m * n + f + (size_t)r];
            tile_store(rows, 1, acc, y + i, FDL_PANEL);
        }
    }
}
INLINE void member_forward_part(const member_part *of) {
    for (size_t f = of->f0, end; f < of->f1; f = end) { /* a tile does not cross strips */
        end = f / FDL_STRIP * FDL_STRIP + FDL_STRIP;
        if (end > of->f1) end = of->f1;
        for_tiles(member_forward_rows, (void *)of, f, end);
    }
}

/* y = x W + b, with each member's W and b. */
static void member_dense_forward(const void *args, fdl_range range, const fdl_step *step, void *scratch) {
    const member_dense_forward_args *a = args;
    (void)scratch;
    for_members(member_forward_part, args, range, step, a->outputs);
}

/* `rows` features of a member's dx from i on, for all samples of the range. */
INLINE void member_input_grad_rows(void *context, int rows, size_t i) {
    const member_part *of = context;
    const member_dense_input_grad_args *a = of->args;
    const size_t k = a->inputs, n = a->outputs, m = of->member;
    for (size_t p = of->range.p0; p < of->range.p1; p++) {
        const T *dy = (const T *)a->dy + (p * a->count + m) * n * FDL_PANEL;
        T *dx = (T *)a->dx + ((p * a->count + m) * k + i) * FDL_PANEL;
        for (size_t s = 0; s < vectors_for(samples_in(of->step->batch, p)) * VL; s += VL) {
            V acc[FDL_TILE_MAX][2];
            tile_clear(rows, 1, acc);
            for (size_t g = 0; g < n; g += FDL_STRIP)
                tile(rows, 1, n - g < FDL_STRIP ? n - g : FDL_STRIP,
                     (const T *)a->w + column(a->count * k, g) + (m * k + i) * FDL_STRIP, FDL_STRIP, 1,
                     dy + g * FDL_PANEL + s, FDL_PANEL, acc);
            tile_store(rows, 1, acc, dx + s, FDL_PANEL);
        }
    }
}
INLINE void member_input_grad_part(const member_part *of) {
    for_tiles(member_input_grad_rows, (void *)of, of->f0, of->f1);
}

/* dx = dy W^T, with each member's W. */
static void member_dense_input_grad(const void *args, fdl_range range, const fdl_step *step, void *scratch) {
    const member_dense_input_grad_args *a = args;
    (void)scratch;
    for_members(member_input_grad_part, args, range, step, a->inputs);
}

/* Row i of a member's dW, for VL outputs from g on of which `count` exist: a vector goes along the samples. */
INLINE void member_weight_row(const member_part *of, size_t i, size_t g, size_t count) {
    const member_dense_weight_grad_args *a = of->args;
    const size_t k = a->inputs, n = a->outputs, m = of->member;
    V sum[VL] = {{0}};
    for (size_t p = of->range.p0; p < of->range.p1; p++) {
        const T *x = (const T *)a->x + ((p * a->count + m) * k + i) * FDL_PANEL;
        const T *dy = (const T *)a->dy + ((p * a->count + m) * n + g) * FDL_PANEL;
        for (size_t lane = 0, samples = samples_in(of->step->batch, p); lane < samples; lane += VL) {
            const VI in_batch = lanes_below(lane, samples);
            const V v = keep(in_batch, load(x + lane));
            for (size_t c = 0; c < count; c++) sum[c] += v * keep(in_batch, load(dy + c * FDL_PANEL + lane));
        }
    }
    store((T *)a->dw + column(a->count * k, g) + (m * k + i) * FDL_STRIP, sum_rows(sum));
}
INLINE void member_weight_grad_part(const member_part *of) {
    const member_dense_weight_grad_args *a = of->args;
    for (size_t g = 0; g < a->outputs; g += VL)
        for (size_t i = of->f0; i < of->f1; i++)
            member_weight_row(of, i, g, a->outputs - g < VL ? a->outputs - g : VL);
}

/* dW = x^T dy of each member; a thread has rows of W. */
static void member_dense_weight_grad(const void *args, fdl_range range, const fdl_step *step, void *scratch) {
    const member_dense_weight_grad_args *a = args;
    (void)scratch;
    for_members(member_weight_grad_part, args, range, step, a->inputs);
}

#endif

/* A dense layer's weight gradient and the optimizer's step in one, for batches of one chunk. */
#ifndef FDL_KERNELS_DENSE_STEP_H
#define FDL_KERNELS_DENSE_STEP_H

#include "../kernels.h"
#include "../shared/panels.h"
#include "../shared/tile.h"
#include "../shared/vec.h"
#include "optimizers.h"
#include "weight_tile.h"

#define FDL_SIDE 4 /* samples of a product between two portions of another tile's step */

/* acc += x^T dy over one full panel, and between its parts the step of the tile before, by that tile's gradient g: a step is
 * roots and divisions, which run in a unit of the processor that products leave idle. */
INLINE void tile_and_step(int products, int rule, int wide, rule_settings set, rule_place before, const T *g, const T *panel,
                          const T *strip, V acc[FDL_TILE_MAX][2]) {
    size_t vectors = FDL_TILE_ROWS * wide, each = (vectors + FDL_PANEL / FDL_SIDE - 1) / (FDL_PANEL / FDL_SIDE);
    for (size_t s = 0, i = 0; s < FDL_PANEL; s += FDL_SIDE) {
        for (size_t end = i + each < vectors ? i + each : vectors; i < end; i++)
            step_vector(rule, set, before, i / wide * FDL_STRIP + i % wide * VL, load(g + i * VL));
        sample_tile(products, FDL_TILE_ROWS, wide, s, FDL_SIDE, panel, strip, acc);
    }
}

/* The tallest tiles of rows [i, k1) of a strip; returns the first row that is left. place: weights and slots; the strip
 * begins at their element `at`. gradient: room for one tile. */
INLINE size_t step_tall_tiles(int products, int rule, int wide, rule_settings set, const rule_preparation *prepare,
                              rule_place place, size_t at, size_t i, size_t k1, size_t k, const T *x, size_t batch,
                              const T *strip, T *gradient) {
    const size_t lane = lane_width(products);
    rule_place before = {NULL, {NULL}};
    for (; i + FDL_TILE_ROWS <= k1; i += FDL_TILE_ROWS) {
        V acc[FDL_TILE_MAX][2];
        size_t done = 0;
        tile_clear(FDL_TILE_ROWS, wide, acc);
        if (before.w) {
            tile_and_step(products, rule, wide, set, before, gradient, x + i * lane, strip, acc);
            done = FDL_PANEL;
        }
        if (done < batch)
            weight_grad_tile(products, FDL_TILE_ROWS, wide, k, x + (done / FDL_PANEL * k + i) * lane, 0, batch - done,
                             strip + done * (products == FDL_FLOATS ? 2 * VL : VL), acc);
        tile_store(FDL_TILE_ROWS, wide, acc, gradient, wide * VL);
        before = place_at(place, at + i * FDL_STRIP);
        if (prepare) prepare_rows(prepare, before.w, gradient, gradient, wide * VL, FDL_TILE_ROWS, wide * VL);
    }
    if (before.w) step_rows(rule, set, before, gradient, wide * VL, FDL_TILE_ROWS, wide * VL);
    return i;
}

/* What the steps of a layer's weights need. The constants are not in this struct: steppers take their address, and what is
 * in it could not stay in registers if a stepper had the address of a part of it. */
typedef struct {
    const T *x, *dy;
    size_t k, n, batch, k0, k1;
    T *strip, *gradient;
    rule_place w, b;
    const rule_settings *set_w, *set_b;
    const rule_preparation *prepare_w, *prepare_b; /* NULL where there is only the rule */
    int rule;
} weight_steps;

/* A strip of the weights: outputs [f, f + wide VL), which begin at element `at`. */
typedef struct {
    const weight_steps *steps;
    int products, wide;
    size_t at;
} step_strip;

INLINE void step_tile(void *context, int rows, size_t i) {
    const step_strip *s = context;
    const weight_steps *t = s->steps;
    const size_t columns = s->wide * VL;
    V acc[FDL_TILE_MAX][2];
    rule_place place = place_at(t->w, s->at + i * FDL_STRIP);
    tile_clear(rows, s->wide, acc);
    weight_grad_tile(s->products, rows, s->wide, t->k, t->x + i * lane_width(s->products), 0, t->batch, t->strip, acc);
    tile_store(rows, s->wide, acc, t->gradient, columns);
    if (t->prepare_w) prepare_rows(t->prepare_w, place.w, t->gradient, t->gradient, columns, rows, columns);
    rule_steppers[t->rule](t->set_w, place, t->gradient, columns, rows, columns);
}

INLINE void step_weights(int products, const weight_steps *t, int wide, size_t f) {
    const size_t at = column(t->k, f), columns = wide * VL;
    const int tall = FDL_TILE_ROWS == 12 && t->batch >= FDL_PANEL;
    step_strip strip = {t, products, wide, at};
    size_t i = t->k0;
    turn_strip(products, wide, t->dy, t->n, f, 0, t->batch, t->strip);
    if (tall && t->rule == FDL_RULE_adam)
        i = step_tall_tiles(products, FDL_RULE_adam, wide, *t->set_w, t->prepare_w, t->w, at, i, t->k1, t->k, t->x, t->batch,
                            t->strip, t->gradient);
    else if (tall && t->rule == FDL_RULE_rmsprop)
        i = step_tall_tiles(products, FDL_RULE_rmsprop, wide, *t->set_w, t->prepare_w, t->w, at, i, t->k1, t->k, t->x,
                            t->batch, t->strip, t->gradient);
    for_tiles(step_tile, &strip, i, t->k1);
    if (!t->b.w || t->k0 > 0) return;
    if (products == FDL_FLOATS) sum_strip(wide, t->strip, t->batch, NULL, t->gradient);
    else sum_features(wide, t->dy, t->n, f, 0, t->batch, NULL, t->gradient);
    if (t->prepare_b) prepare_rows(t->prepare_b, t->b.w + f, t->gradient, t->gradient, 0, 1, columns);
    rule_steppers[t->rule](t->set_b, place_at(t->b, f), t->gradient, 0, 1, columns);
}
INLINE void step_floats(void *context, int wide, size_t f) { step_weights(FDL_FLOATS, context, wide, f); }
#if FDL_IS_F32
INLINE void step_rounded(void *context, int wide, size_t f) { step_weights(FDL_ROUNDED, context, wide, f); }
INLINE void step_native(void *context, int wide, size_t f) { step_weights(FDL_NATIVE, context, wide, f); }
#endif

/* dense_weight_grad for a batch of one chunk, and the optimizer's step on each tile while it is in the cache: dW is
 * never written, and weights and slots are read in the order they lie in. `prepare` and `each` are constants in each use. */
INLINE void weight_step(strip_body each, int prepare, const dense_weight_step_args *a, fdl_range range, const fdl_step *step,
                        void *scratch) {
    const rule_settings set_w = settings_of(step->rates, a->rate_factor, a->constants);
    const rule_settings set_b = settings_of(step->rates, a->b_rate_factor, a->constants);
    const rule_preparation prepare_w = preparation_of(step->rates, a->limit, a->decay, a->l1, a->l2);
    const rule_preparation prepare_b = preparation_of(step->rates, a->limit, a->b_decay, a->b_l1, a->b_l2);
    T *strip = scratch;
    weight_steps steps = {.x = a->x, .dy = a->dy, .k = a->inputs, .n = a->outputs, .batch = step->batch, .k0 = range.f0,
                          .k1 = range.f1, .strip = strip, .gradient = strip + FDL_CHUNK * 2 * VL,
                          .w = place_of(a->w, a->slots), .b = place_of(a->b, a->b_slots), .set_w = &set_w, .set_b = &set_b,
                          .prepare_w = prepare ? &prepare_w : NULL, .prepare_b = prepare ? &prepare_b : NULL,
                          .rule = (int)a->rule};
    for_strips(each, &steps, 0, a->outputs);
}

/* Not inlined, so that the step without preparation is as fast as if there were none. */
static __attribute__((noinline)) void prepared_weight_step(const dense_weight_step_args *a, fdl_range range,
                                                           const fdl_step *step, void *scratch) {
    weight_step(step_floats, 1, a, range, step, scratch);
}

#if FDL_IS_F32
static __attribute__((noinline, cold)) void rounded_weight_step(const dense_weight_step_args *a, fdl_range range,
                                                                const fdl_step *step, void *scratch) {
    weight_step(step_rounded, 1, a, range, step, scratch);
}

static __attribute__((noinline)) void native_weight_step(const dense_weight_step_args *a, fdl_range range,
                                                         const fdl_step *step, void *scratch) {
    if (a->prepare) weight_step(step_native, 1, a, range, step, scratch);
    else weight_step(step_native, 0, a, range, step, scratch);
}
#endif

static void dense_weight_step(const void *args, fdl_range range, const fdl_step *step, void *scratch) {
    const dense_weight_step_args *a = args;
#if FDL_IS_F32
    if (natively(a->products)) {
        native_weight_step(a, range, step, scratch);
        return;
    }
    if (a->products != FDL_FLOATS) {
        rounded_weight_step(a, range, step, scratch);
        return;
    }
#endif
    if (a->prepare) prepared_weight_step(a, range, step, scratch);
    else weight_step(step_floats, 0, a, range, step, scratch);
}

#endif

/* Dense layers on panels: the three products, without packing. Weights lie in strips (see kernels.h). */

/* What follows a dense layer's sums, by feature: act((sum + b - mean) scale + shift); all may be NULL, mean comes with scale. */
typedef struct {
    const T *b, *mean, *scale, *shift;
    int relu;
} forward_end;

INLINE forward_end end_at(const forward_end *end, size_t f) {
    forward_end at = *end;
    if (at.b) at.b += f;
    if (at.scale) at.mean += f, at.scale += f;
    if (at.shift) at.shift += f;
    return at;
}

INLINE V finish_vector(const forward_end *end, size_t f, V v) {
    if (end->b) v += end->b[f];
    if (end->scale) v = (v - end->mean[f]) * end->scale[f] + (end->shift ? end->shift[f] : 0);
    return end->relu ? keep(~(v < 0), v) : v;
}

/* What a dense layer's outputs are summed over: inputs [from, to), apart up to `middle` and from there, in blocks. */
typedef struct {
    size_t from, middle, to, block;
    int whole; /* all of it: what follows can be done */
} forward_sum;

/* One tile of outputs for VL or 2 VL samples; `spare` keeps the second half's sums meanwhile. */
INLINE void forward_tile(int rows, int wide, const forward_sum *sum, forward_end end_with, const T *w, const T *x, T *y,
                         T *spare) {
    V acc[FDL_TILE_MAX][2], first[FDL_TILE_MAX][2];
    T *out = y;
    for (size_t begin = sum->from, end;; begin = end, out = spare) {
        end = begin < sum->middle && sum->middle < sum->to ? sum->middle : sum->to;
        tile_in_blocks(rows, wide, end - begin, sum->block, w + begin * FDL_STRIP, 1, FDL_STRIP, x + begin * FDL_PANEL,
                       out, acc);
        if (out == spare) {
            tile_load(rows, wide, y, FDL_PANEL, first);
            tile_add(rows, wide, acc, first);
        }
        if (end == sum->to) break;
        tile_store(rows, wide, acc, y, FDL_PANEL);
    }
    if (sum->whole)
#pragma GCC unroll 12
        for (int r = 0; r < rows; r++)
            for (int j = 0; j < wide; j++) acc[r][j] = finish_vector(&end_with, (size_t)r, acc[r][j]);
    tile_store(rows, wide, acc, y, FDL_PANEL);
}

#define FDL_FEW_ROWS 2   /* so few samples leave most of a panel's lanes idle: vectors along the outputs then */
#define FDL_ROW_UNITS 8  /* units of one row's outputs at once: enough sums to hide the latency of adding */

/* One sample: outputs [f0, f1) in vectors, each summed over k in the order that tiles sum in, so with the same bits.
 * Whole strips at a time, or the half of one: what other threads own is not read, as they may be writing it. */
static void forward_row(size_t k, size_t n, size_t block, const T *w, const forward_end *end_with, const T *x, T *y,
                        size_t f0, size_t f1) {
    enum { EACH = FDL_UNIT / VL };
    for (size_t f = f0, units; f < f1; f += units * FDL_UNIT) {
        units = f % FDL_STRIP ? 1 : (f1 - f + FDL_UNIT - 1) / FDL_UNIT;
        if (units > 1) units = (units + (f1 == n)) / 2 * 2; /* behind the last feature stands padding, nobody's */
        if (units > FDL_ROW_UNITS) units = FDL_ROW_UNITS;
        const T *from = w + column(k, f);
        V total[FDL_ROW_UNITS * EACH];
        for (size_t begin = 0; begin < k; begin += block) {
            V sum[FDL_ROW_UNITS * EACH] = {{0}};
            size_t end = k - begin < block ? k : begin + block;
#define ROWS(count)                                                                                          \
    for (size_t i = begin; i < end; i++)                                                                     \
        for (size_t u = 0; u < (count); u++)                                                                 \
            for (size_t j = 0; j < EACH; j++)                                                                \
                sum[u * EACH + j] += x[i * FDL_PANEL] * load(from + i * FDL_STRIP + column(k, u * FDL_UNIT) + j * VL)
            switch (units) {
                case 1: ROWS(1); break;
                case 2: ROWS(2); break;
                case 4: ROWS(4); break;
                case 6: ROWS(6); break;
                default: ROWS(8);
            }
#undef ROWS
            for (size_t j = 0; j < units * EACH; j++) {
                if (begin > 0) sum[j] += total[j];
                total[j] = sum[j];
            }
        }
        T values[FDL_ROW_UNITS * FDL_UNIT];
        for (size_t j = 0; j < units * EACH; j++) {
            V v = total[j];
            size_t g = f + j * VL;
            if (g < f1) { /* vectors are padded up to a unit, and nothing beyond that is kept */
                if (end_with->b) v += load(end_with->b + g);
                if (end_with->scale) {
                    V shift = {0};
                    if (end_with->shift) shift = load(end_with->shift + g);
                    v = (v - load(end_with->mean + g)) * load(end_with->scale + g) + shift;
                }
            }
            storeu(values + j * VL, end_with->relu ? keep(~(v < 0), v) : v);
        }
        for (size_t g = f; g < f1 && g < f + units * FDL_UNIT; g++) y[g * FDL_PANEL] = values[g - f];
    }
}

static void dense_forward(const void *args, fdl_range range, const fdl_step *step, void *scratch) {
    const dense_forward_args *a = args;
    const T *x = a->x, *w = a->w;
    T *y = a->y;
    size_t k = a->inputs, n = a->outputs;
    forward_sum sum = {0, a->middle, k, a->block, 1};
    forward_end end_with = {a->b, a->mean, a->scale, a->shift, a->act == FDL_RELU};
    if (a->second && range.part != FDL_BOTH) {
        sum.whole = 0;
        if (range.part == 0) sum.to = sum.middle;
        else sum.from = sum.middle, y = a->second;
    } else if (step->batch <= FDL_FEW_ROWS) {
        for (size_t s = 0; s < step->batch; s++)
            forward_row(k, n, sum.block, w, &end_with, x + s, y + s, range.f0, range.f1);
        return;
    }
#define STEP(rows, f)                                                                                       \
    for (size_t p = range.p0; p < range.p1; p++) {                                                          \
        size_t vectors = vectors_for(samples_in(step->batch, p)), v = 0;                                    \
        const T *from = x + p * k * FDL_PANEL, *weights = w + column(k, f);                                 \
        T *to = y + (p * n + (f)) * FDL_PANEL;                                                              \
        forward_end last = end_at(&end_with, f);                                                            \
        for (; v + 2 <= vectors; v += 2)                                                                    \
            forward_tile(rows, 2, &sum, last, weights, from + v * VL, to + v * VL, scratch);                \
        if (v < vectors) forward_tile(rows, 1, &sum, last, weights, from + v * VL, to + v * VL, scratch);   \
    }
    for (size_t f = range.f0, end; f < range.f1; f = end) { /* a tile does not cross strips */
        end = f / FDL_STRIP * FDL_STRIP + FDL_STRIP;
        if (end > range.f1) end = range.f1;
        FDL_FOR_TILES(STEP, f, end);
    }
#undef STEP
}

/* y = act(y + second half + b) */
static void dense_finish(const void *args, fdl_range range, const fdl_step *step, void *scratch) {
    const dense_finish_args *a = args;
    T *y = a->y;
    const T *second = a->second;
    forward_end end_with = {a->b, NULL, NULL, NULL, a->act == FDL_RELU};
    size_t n = a->outputs;
    (void)scratch;
    for (size_t p = range.p0; p < range.p1; p++)
        for (size_t f = range.f0; f < range.f1; f++) {
            size_t at = (p * n + f) * FDL_PANEL, end = at + vectors_for(samples_in(step->batch, p)) * VL;
            for (size_t i = at; i < end; i += VL) store(y + i, finish_vector(&end_with, f, load(second + i) + load(y + i)));
        }
}

/* One tile of dx = dy W^T over outputs [from, to): block by block of FDL_GRADIENT_BLOCK, each from zero, which bounds
 * float32 rounding as in forward. */
INLINE void input_grad_tile(int rows, int wide, size_t k, size_t from, size_t to, const T *w, const T *dy, T *dx, const T *y) {
    V acc[FDL_TILE_MAX][2], sum[FDL_TILE_MAX][2];
    tile_clear(rows, wide, acc);
    for (size_t g = from; g < to; g += FDL_STRIP) {
        const T *strip = w + g * k;
        if (to - g >= FDL_STRIP) tile(rows, wide, FDL_STRIP, strip, FDL_STRIP, 1, dy + g * FDL_PANEL, FDL_PANEL, acc);
        else tile(rows, wide, to - g, strip, FDL_STRIP, 1, dy + g * FDL_PANEL, FDL_PANEL, acc);
    }
    if (from > 0) {
        tile_load(rows, wide, dx, FDL_PANEL, sum);
        tile_add(rows, wide, acc, sum);
    }
    if (y) { /* x came out of a ReLU, and this is its gradient too */
        tile_load(rows, wide, y, FDL_PANEL, sum);
#pragma GCC unroll 12
        for (int r = 0; r < rows; r++)
            for (int j = 0; j < wide; j++) acc[r][j] = keep(sum[r][j] > 0, acc[r][j]);
    }
    tile_store(rows, wide, acc, dx, FDL_PANEL);
}

static void dense_input_grad(const void *args, fdl_range range, const fdl_step *step, void *scratch) {
    const dense_input_grad_args *a = args;
    const T *dy = a->dy, *w = a->w, *relu = a->relu;
    T *dx = a->dx;
    size_t k = a->inputs, n = a->outputs;
    (void)scratch;
    for (size_t begin = 0, end; begin < n; begin = end) { /* outermost: a block of dy stays in the cache for all tiles */
        end = n - begin < FDL_GRADIENT_BLOCK ? n : begin + FDL_GRADIENT_BLOCK;
        const T *y = end == n ? relu : NULL;
#define STEP(rows, f)                                                                                       \
    for (size_t p = range.p0; p < range.p1; p++) {                                                          \
        size_t vectors = vectors_for(samples_in(step->batch, p)), v = 0;                                    \
        const T *from = dy + p * n * FDL_PANEL, *weights = w + (f) * FDL_STRIP;                             \
        size_t at = (p * k + (f)) * FDL_PANEL;                                                              \
        for (; v + 2 <= vectors; v += 2)                                                                    \
            input_grad_tile(rows, 2, k, begin, end, weights, from + v * VL, dx + at + v * VL,               \
                            y ? y + at + v * VL : y);                                                       \
        if (v < vectors)                                                                                    \
            input_grad_tile(rows, 1, k, begin, end, weights, from + v * VL, dx + at + v * VL,               \
                            y ? y + at + v * VL : y);                                                       \
    }
        FDL_FOR_TILES(STEP, range.f0, range.f1);
#undef STEP
    }
}

/* Transposes features [f0, f0 + wide VL) of samples [s0, s1) into rows: out (s1 - s0, 2 VL); zeros from n on. What lies
 * beyond may be another thread's, who may be writing it: it is not read. */
static void transpose_strip(size_t wide, const T *dy, size_t n, size_t f0, size_t s0, size_t s1, T *out) {
    for (size_t s = s0; s < s1; s += VL)
        for (size_t half = 0; half < wide; half++) {
            const T *from = dy + ((s / FDL_PANEL) * n + f0 + half * VL) * FDL_PANEL + s % FDL_PANEL;
            V block[VL];
            for (size_t i = 0; i < VL; i++)
                block[i] = f0 + half * VL + i < n ? load(from + i * FDL_PANEL) : (V){0};
            transpose(block);
            for (size_t i = 0; i < VL; i++) store(out + (s - s0 + i) * 2 * VL + half * VL, block[i]);
        }
}

/* acc += x^T dy over samples [s0, s1), which start at a panel's first. */
INLINE void weight_grad_tile(int rows, int wide, size_t k, const T *x, size_t s0, size_t s1, const T *strip,
                             V acc[FDL_TILE_MAX][2]) {
    for (size_t s = s0; s < s1; s += FDL_PANEL) {
        const T *panel = x + (s / FDL_PANEL) * k * FDL_PANEL, *from = strip + (s - s0) * 2 * VL;
        if (s1 - s >= FDL_PANEL)
            tile(rows, wide, FDL_PANEL, panel, FDL_PANEL, 1, from, 2 * VL, acc);
        else
            tile(rows, wide, s1 - s, panel, FDL_PANEL, 1, from, 2 * VL, acc);
    }
}

/* The sum of a strip's rows: out (wide VL) = from + sum over samples. */
INLINE void sum_strip(int wide, const T *strip, size_t samples, const T *from, T *out) {
    for (int j = 0; j < wide; j++) {
        V sum = {0};
        if (from) sum = load(from + j * VL);
        for (size_t s = 0; s < samples; s++) sum += load(strip + s * 2 * VL + j * VL);
        store(out + j * VL, sum);
    }
}

/* Runs STRIP(wide, f) over features [f0, f1) rounded up to whole vectors; `wide` is a constant in each use. A pair
 * of vectors starts at a multiple of its width, so that it does not cross strips. */
#define FDL_FOR_STRIPS(STRIP, f0, f1)                                   \
    do {                                                                \
        size_t strip_ = (f0), strips_ = ((f1) + VL - 1) / VL * VL;      \
        if (strip_ % (2 * VL) && strip_ < strips_) { STRIP(1, strip_); strip_ += VL; } \
        for (; strip_ + 2 * VL <= strips_; strip_ += 2 * VL) { STRIP(2, strip_); } \
        if (strip_ < strips_) { STRIP(1, strip_); }                     \
    } while (0)

/* dW over many samples and few inputs: vectors along the samples, so that nothing is transposed. A tile of DOT_K
 * inputs by DOT_N outputs has VL sums, which sum_rows finishes all at once. */
#if FDL_VBYTES == 64 && FDL_IS_F32
enum { DOT_K = 4, DOT_N = 4 };
#elif FDL_VBYTES == 64 || (FDL_VBYTES == 32 && FDL_IS_F32)
enum { DOT_K = 4, DOT_N = 2 };
#elif FDL_VBYTES == 32 || FDL_IS_F32
enum { DOT_K = 2, DOT_N = 2 };
#else
enum { DOT_K = 2, DOT_N = 1 };
#endif
#define FDL_DOT_SAMPLES 512 /* below, finishing the sums costs more than transposing */

INLINE int by_dots(size_t k, size_t samples) { return samples >= FDL_DOT_SAMPLES && k * 8 <= samples; }

INLINE void dot_tile(const T *const a[DOT_K], const T *const b[DOT_N], size_t lane, VI in_batch, V acc[VL]) {
    V u[DOT_K], v[DOT_N];
#pragma GCC unroll 4
    for (size_t r = 0; r < DOT_K; r++) u[r] = load(a[r] + lane);
#pragma GCC unroll 4
    for (size_t c = 0; c < DOT_N; c++) v[c] = keep(in_batch, load(b[c] + lane));
#pragma GCC unroll 4
    for (size_t r = 0; r < DOT_K; r++)
#pragma GCC unroll 4
        for (size_t c = 0; c < DOT_N; c++) acc[r * DOT_N + c] += u[r] * v[c];
}

static void weight_dots(size_t k, size_t n, const T *x, const T *dy, fdl_range range, size_t batch, T *dw) {
    for (size_t f = range.f0; f < range.f1; f += DOT_N)
        for (size_t i = 0; i < k; i += DOT_K) {
            size_t rows = k - i < DOT_K ? k - i : DOT_K, columns = range.f1 - f < DOT_N ? range.f1 - f : DOT_N;
            V acc[VL] = {{0}};
            for (size_t p = range.p0; p < range.p1; p++) {
                const T *a[DOT_K], *b[DOT_N];
                size_t samples = samples_in(batch, p), lane = 0;
                /* beyond the last row or column stands the last one again, and its sums are not kept */
                for (size_t r = 0; r < DOT_K; r++) a[r] = x + (p * k + i + (r < rows ? r : rows - 1)) * FDL_PANEL;
                for (size_t c = 0; c < DOT_N; c++) b[c] = dy + (p * n + f + (c < columns ? c : columns - 1)) * FDL_PANEL;
                if (samples == FDL_PANEL)
#pragma GCC unroll 2
                    for (; lane < FDL_PANEL; lane += VL) dot_tile(a, b, lane, ~(VI){0}, acc);
                else
                    for (; lane < samples; lane += VL) dot_tile(a, b, lane, lanes_below(lane, samples), acc);
            }
            T sums[VL];
            storeu(sums, sum_rows(acc));
            for (size_t r = 0; r < rows; r++)
                for (size_t c = 0; c < columns; c++)
                    dw[column(k, f + c) + (i + r) * FDL_STRIP] = sums[r * DOT_N + c];
        }
}

static void bias_sums(size_t n, const T *dy, fdl_range range, size_t batch, T *db) {
    for (size_t f = range.f0; f < range.f1; f += VL) {
        size_t columns = range.f1 - f < VL ? range.f1 - f : VL;
        V acc[VL] = {{0}};
        for (size_t p = range.p0; p < range.p1; p++)
            for (size_t lane = 0, samples = samples_in(batch, p); lane < samples; lane += VL)
                for (size_t c = 0; c < columns; c++)
                    acc[c] += keep(lanes_below(lane, samples), load(dy + (p * n + f + c) * FDL_PANEL + lane));
        store(db + f, sum_rows(acc));
    }
}

/* dW = x^T dy, db = sum of dy, over the range's panels. Samples go in chunks whose transposed dy stays in the
 * first-level cache. */
static void dense_weight_grad(const void *args, fdl_range range, const fdl_step *step, void *scratch) {
    const dense_weight_grad_args *a = args;
    const T *x = a->x, *dy = a->dy;
    T *dw = (T *)a->dw + range.part * a->dw_stride, *db = a->db, *strip = scratch;
    size_t k = a->inputs, n = a->outputs, begin = range.p0 * FDL_PANEL, end = range.p1 * FDL_PANEL;
    if (end > step->batch) end = step->batch;
    if (db) db += range.part * a->db_stride;
    if (by_dots(k, end - begin)) {
        weight_dots(k, n, x, dy, range, step->batch, dw);
        if (db) bias_sums(n, dy, range, step->batch, db);
        return;
    }
    for (size_t s0 = begin; s0 < end; s0 += FDL_CHUNK) {
        size_t s1 = end - s0 < FDL_CHUNK ? end : s0 + FDL_CHUNK;
#define STEP(rows, i)                                                                   \
    V acc[FDL_TILE_MAX][2];                                                             \
    T *to = dw + column(k, f) + (i) * FDL_STRIP;                                        \
    if (s0 > begin) tile_load(rows, wide, to, FDL_STRIP, acc);                          \
    else tile_clear(rows, wide, acc);                                                   \
    weight_grad_tile(rows, wide, k, x + (i) * FDL_PANEL, s0, s1, strip, acc);           \
    tile_store(rows, wide, acc, to, FDL_STRIP)
#define STRIP(width, first)                                                             \
    const int wide = width;                                                             \
    size_t f = first;                                                                   \
    transpose_strip(wide, dy, n, f, s0, s1, strip);                                     \
    FDL_FOR_TILES(STEP, 0, k);                                                          \
    if (db) sum_strip(wide, strip, s1 - s0, s0 > begin ? db + f : NULL, db + f)
        FDL_FOR_STRIPS(STRIP, range.f0, range.f1);
#undef STRIP
#undef STEP
    }
}

/* out = the sum over parts, in order. Elements [f0, f1). */
static void sum_partials(const void *args, fdl_range range, const fdl_step *step, void *scratch) {
    const sum_partials_args *a = args;
    const T *partials = a->partials;
    T *out = a->out;
    (void)step, (void)scratch;
    for (size_t i = range.f0; i < range.f1; i += VL) {
        V sum = load(partials + i);
        for (size_t part = 1; part < a->parts; part++) sum += load(partials + part * a->size + i);
        store(out + i, sum);
    }
}

#define FDL_SIDE 4 /* samples between two portions of the other tile's step */

/* acc += x^T dy over one full panel, and beside it the step of the tile before by its gradient g: roots and
 * divisions keep to their own unit, which the products leave idle. */
INLINE void tile_and_step(int rule, int wide, rule_settings set, rule_place before, const T *g, const T *panel,
                          const T *strip, V acc[FDL_TILE_MAX][2]) {
    size_t vectors = FDL_TILE_ROWS * wide, each = (vectors + FDL_PANEL / FDL_SIDE - 1) / (FDL_PANEL / FDL_SIDE);
    for (size_t s = 0, i = 0; s < FDL_PANEL; s += FDL_SIDE) {
        for (size_t end = i + each < vectors ? i + each : vectors; i < end; i++)
            step_vector(rule, set, before, i / wide * FDL_STRIP + i % wide * VL, load(g + i * VL));
        tile(FDL_TILE_ROWS, wide, FDL_SIDE, panel + s, FDL_PANEL, 1, strip + s * 2 * VL, 2 * VL, acc);
    }
}

/* The tallest tiles of rows [i, k1) of a strip; returns the first row left. place: weights and slots, whose strip begins at
 * `at`; gradient: room for one tile. */
INLINE size_t step_tall_tiles(int rule, int wide, rule_settings set, const rule_taming *tame, rule_place place, size_t at,
                              size_t i, size_t k1, size_t k, const T *x, size_t batch, const T *strip, T *gradient) {
    rule_place before = {NULL, {NULL}};
    for (; i + FDL_TILE_ROWS <= k1; i += FDL_TILE_ROWS) {
        V acc[FDL_TILE_MAX][2];
        size_t done = 0;
        tile_clear(FDL_TILE_ROWS, wide, acc);
        if (before.w) {
            tile_and_step(rule, wide, set, before, gradient, x + i * FDL_PANEL, strip, acc);
            done = FDL_PANEL;
        }
        if (done < batch)
            weight_grad_tile(FDL_TILE_ROWS, wide, k, x + (done * k + i * FDL_PANEL), 0, batch - done,
                             strip + done * 2 * VL, acc);
        tile_store(FDL_TILE_ROWS, wide, acc, gradient, wide * VL);
        before = place_at(place, at + i * FDL_STRIP);
        if (tame) tame_rows(tame, before.w, gradient, gradient, wide * VL, FDL_TILE_ROWS, wide * VL);
    }
    if (before.w) step_rows(rule, set, before, gradient, wide * VL, FDL_TILE_ROWS, wide * VL);
    return i;
}

/* dense_weight_grad for a batch of one chunk, and the optimizer's step on each tile while it is in the cache: dW is
 * never written, and weights and slots are read in the order they lie in. `tame` is a constant in each use. */
INLINE void weight_step(int tame, const dense_weight_step_args *a, fdl_range range, const fdl_step *step, void *scratch) {
    const T *x = a->x, *dy = a->dy;
    const rule_place w = place_of(a->w, a->slots), b = place_of(a->b, a->b_slots);
    size_t k = a->inputs, n = a->outputs, batch = step->batch;
    T *strip = scratch, *gradient = strip + FDL_CHUNK * 2 * VL;
    const rule_settings set = settings_of(step->rates, a->constants);
    const rule_taming tame_w = taming_of(step->rates, a->limit, a->decay, a->l1, a->l2);
    const rule_taming tame_b = taming_of(step->rates, a->limit, a->b_decay, a->b_l1, a->b_l2);
    rule_stepper stepper = rule_steppers[a->rule];
#define STEP(rows, i)                                                                                           \
    V acc[FDL_TILE_MAX][2];                                                                                     \
    rule_place place = place_at(w, at + (i) * FDL_STRIP);                                                       \
    tile_clear(rows, wide, acc);                                                                                \
    weight_grad_tile(rows, wide, k, x + (i) * FDL_PANEL, 0, batch, strip, acc);                                 \
    tile_store(rows, wide, acc, gradient, wide * VL);                                                           \
    if (tame) tame_rows(&tame_w, place.w, gradient, gradient, wide * VL, rows, wide * VL);                      \
    stepper(&set, place, gradient, wide * VL, rows, wide * VL)
#define STRIP(width, first)                                                                                     \
    const int wide = width;                                                                                     \
    size_t f = first, at = column(k, f), i = range.f0;                                                          \
    transpose_strip(wide, dy, n, f, 0, batch, strip);                                                           \
    if (FDL_TILE_ROWS == 12 && batch >= FDL_PANEL && a->rule == FDL_RULE_adam)                                  \
        i = step_tall_tiles(FDL_RULE_adam, wide, set, tame ? &tame_w : NULL, w, at, i, range.f1, k, x, batch,   \
                            strip, gradient);                                                                   \
    else if (FDL_TILE_ROWS == 12 && batch >= FDL_PANEL && a->rule == FDL_RULE_rmsprop)                          \
        i = step_tall_tiles(FDL_RULE_rmsprop, wide, set, tame ? &tame_w : NULL, w, at, i, range.f1, k, x,       \
                            batch, strip, gradient);                                                            \
    FDL_FOR_TILES(STEP, i, range.f1);                                                                           \
    if (b.w && range.f0 == 0) {                                                                                 \
        sum_strip(wide, strip, batch, NULL, gradient);                                                          \
        if (tame) tame_rows(&tame_b, b.w + f, gradient, gradient, 0, 1, wide * VL);                             \
        stepper(&set, place_at(b, f), gradient, 0, 1, wide * VL);                                               \
    }
    FDL_FOR_STRIPS(STRIP, 0, n);
#undef STRIP
#undef STEP
}

/* Apart, so that what nobody asked for costs the plain step nothing. */
static __attribute__((noinline)) void tame_weight_step(const dense_weight_step_args *a, fdl_range range, const fdl_step *step,
                                                       void *scratch) {
    weight_step(1, a, range, step, scratch);
}

static void dense_weight_step(const void *args, fdl_range range, const fdl_step *step, void *scratch) {
    const dense_weight_step_args *a = args;
    if (a->prepare) tame_weight_step(a, range, step, scratch);
    else weight_step(0, a, range, step, scratch);
}

/* Dense layers on panels: the three products, without packing. */

/* y = act(x W + b): one tile of outputs for VL or 2 VL samples. */
INLINE void forward_tile(int rows, int wide, size_t k, size_t block, const T *w, size_t ld, const T *b, const T *x,
                         T *y, int relu) {
    V acc[FDL_TILE_MAX][2];
    tile_in_blocks(rows, wide, k, block, w, 1, ld, x, y, acc);
#pragma GCC unroll 12
    for (int r = 0; r < rows; r++) {
        V bias = splat(b ? b[r] : 0);
        for (int j = 0; j < wide; j++) {
            V v = acc[r][j] + bias;
            store(y + r * FDL_PANEL + j * VL, relu ? keep(~(v < 0), v) : v);
        }
    }
}

static void dense_forward(const fdl_args *a, fdl_range range, const fdl_step *step, void *scratch) {
    const T *x = a->p[0], *w = a->p[1], *b = a->p[2];
    T *y = a->p[3];
    size_t k = a->n[0], n = a->n[1], ld = a->n[2], block = a->n[4];
    int relu = a->n[3] == FDL_RELU;
    (void)scratch;
#define STEP(rows, f)                                                                                       \
    for (size_t p = range.p0; p < range.p1; p++) {                                                          \
        size_t vectors = vectors_for(samples_in(step->batch, p)), v = 0;                              \
        const T *from = x + p * k * FDL_PANEL;                                                              \
        T *to = y + (p * n + (f)) * FDL_PANEL;                                                              \
        for (; v + 2 <= vectors; v += 2)                                                                    \
            forward_tile(rows, 2, k, block, w + (f), ld, b ? b + (f) : b, from + v * VL, to + v * VL, relu);    \
        if (v < vectors)                                                                                    \
            forward_tile(rows, 1, k, block, w + (f), ld, b ? b + (f) : b, from + v * VL, to + v * VL, relu);    \
    }
    FDL_FOR_TILES(STEP, range.f0, range.f1);
#undef STEP
}

#define FDL_GRADIENT_BLOCK 128

INLINE void input_grad_tile(int rows, int wide, size_t n, const T *w, size_t ld, const T *dy, T *dx) {
    V acc[FDL_TILE_MAX][2];
    tile_in_blocks(rows, wide, n, FDL_GRADIENT_BLOCK, w, ld, 1, dy, dx, acc);
#pragma GCC unroll 12
    for (int r = 0; r < rows; r++)
        for (int j = 0; j < wide; j++) store(dx + r * FDL_PANEL + j * VL, acc[r][j]);
}

/* dx = dy W^T */
static void dense_input_grad(const fdl_args *a, fdl_range range, const fdl_step *step, void *scratch) {
    const T *dy = a->p[0], *w = a->p[1];
    T *dx = a->p[2];
    size_t k = a->n[0], n = a->n[1], ld = a->n[2];
    (void)scratch;
#define STEP(rows, f)                                                                                       \
    for (size_t p = range.p0; p < range.p1; p++) {                                                          \
        size_t vectors = vectors_for(samples_in(step->batch, p)), v = 0;                              \
        const T *from = dy + p * n * FDL_PANEL;                                                             \
        T *to = dx + (p * k + (f)) * FDL_PANEL;                                                             \
        for (; v + 2 <= vectors; v += 2)                                                                    \
            input_grad_tile(rows, 2, n, w + (f) * ld, ld, from + v * VL, to + v * VL);                   \
        if (v < vectors)                                                                                    \
            input_grad_tile(rows, 1, n, w + (f) * ld, ld, from + v * VL, to + v * VL);                   \
    }
    FDL_FOR_TILES(STEP, range.f0, range.f1);
#undef STEP
}

/* Transposes features [f0, f0 + 2 VL) of samples [s0, s1) into rows: out (s1 - s0, 2 VL); zeros from n on. */
static void transpose_strip(const T *dy, size_t n, size_t f0, size_t s0, size_t s1, T *out) {
    for (size_t s = s0; s < s1; s += VL)
        for (size_t half = 0; half < 2; half++) {
            const T *from = dy + ((s / FDL_PANEL) * n + f0 + half * VL) * FDL_PANEL + s % FDL_PANEL;
            V block[VL];
            for (size_t i = 0; i < VL; i++)
                block[i] = f0 + half * VL + i < n ? load(from + i * FDL_PANEL) : (V){0};
            transpose(block);
            for (size_t i = 0; i < VL; i++) store(out + (s - s0 + i) * 2 * VL + half * VL, block[i]);
        }
}

/* dw[rows][2 VL] (+)= x^T dy over samples [s0, s1), which start at a panel's first. */
INLINE void weight_grad_tile(int rows, size_t k, const T *x, size_t s0, size_t s1, const T *strip, T *dw,
                                size_t ld, int wide) {
    V acc[FDL_TILE_MAX][2];
    tile_clear(rows, wide, acc);
    if (s0 > 0)
#pragma GCC unroll 12
        for (int r = 0; r < rows; r++)
            for (int j = 0; j < wide; j++) acc[r][j] = load(dw + r * ld + j * VL);
    for (size_t s = s0; s < s1; s += FDL_PANEL) {
        const T *panel = x + (s / FDL_PANEL) * k * FDL_PANEL, *from = strip + (s - s0) * 2 * VL;
        if (s1 - s >= FDL_PANEL)
            tile(rows, wide, FDL_PANEL, panel, FDL_PANEL, 1, from, 2 * VL, acc);
        else
            tile(rows, wide, s1 - s, panel, FDL_PANEL, 1, from, 2 * VL, acc);
    }
#pragma GCC unroll 12
    for (int r = 0; r < rows; r++)
        for (int j = 0; j < wide; j++) store(dw + r * ld + j * VL, acc[r][j]);
}

/* dW = x^T dy, db = sum of dy. Samples go in chunks whose transposed dy stays in the first-level cache. */
static void dense_weight_grad(const fdl_args *a, fdl_range range, const fdl_step *step, void *scratch) {
    const T *x = a->p[0], *dy = a->p[1];
    T *dw = a->p[2], *db = a->p[3], *strip = scratch;
    size_t k = a->n[0], n = a->n[1], ld = a->n[2], end = (range.f1 + VL - 1) / VL * VL;
    for (size_t f = range.f0; f < end; f += 2 * VL)
        for (size_t s0 = 0; s0 < step->batch; s0 += FDL_CHUNK) {
            size_t s1 = step->batch - s0 < FDL_CHUNK ? step->batch : s0 + FDL_CHUNK;
            transpose_strip(dy, n, f, s0, s1, strip);
            if (f + 2 * VL <= end) {
#define STEP(rows, i) \
    weight_grad_tile(rows, k, x + (i) * FDL_PANEL, s0, s1, strip, dw + (i) * ld + f, ld, 2)
                FDL_FOR_TILES(STEP, 0, k);
#undef STEP
            } else {
#define STEP(rows, i) \
    weight_grad_tile(rows, k, x + (i) * FDL_PANEL, s0, s1, strip, dw + (i) * ld + f, ld, 1)
                FDL_FOR_TILES(STEP, 0, k);
#undef STEP
            }
            if (!db) continue;
            for (size_t j = 0; j < 2 && f + j * VL < end; j++) {
                V sum = s0 > 0 ? load(db + f + j * VL) : (V){0};
                for (size_t s = 0; s < s1 - s0; s++) sum += load(strip + s * 2 * VL + j * VL);
                store(db + f + j * VL, sum);
            }
        }
}

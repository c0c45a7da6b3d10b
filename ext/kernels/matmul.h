/* Row-major matrix product, after Goto and van de Geijn (2008): blocks of a and b are packed so that the tile
 * reads both in order; b goes unpacked when it is read too few times to pay for the copy. */
#define FDL_BLOCK_K 384
#define FDL_BLOCK_M 240 /* a multiple of both tile heights */

/* Few rows of c: each strip of b is used so rarely that packing it would cost as much as using it. */
INLINE int packs_b(const fdl_matmul *a) { return a->m > 64 || a->b_col != 1; }

static size_t matmul_buffer(const fdl_matmul *a) {
    (void)a;
    return (FDL_BLOCK_K * FDL_BLOCK_M + FDL_BLOCK_K * 2 * VL) * sizeof(T) + 64;
}

/* out[i / h][k][i % h] = a[i][k], for the tile heights h that FDL_FOR_TILES makes of [0, m). */
static void pack_a(const T *a, size_t row, size_t col, size_t m, size_t k, T *out) {
#define STEP(rows, i)                                                             \
    for (size_t j = 0; j < k; j++)                                                \
        for (size_t r = 0; r < rows; r++) *out++ = a[((i) + r) * row + j * col];
    FDL_FOR_TILES(STEP, 0, m);
#undef STEP
}

/* out[k][2 VL] = b[k][0 ... n), zeros beyond n. */
static void pack_b(const T *b, size_t row, size_t col, size_t n, size_t k, T *out) {
    if (col == 1 && n == 2 * VL) {
        for (size_t i = 0; i < k; i++, out += 2 * VL) {
            store(out, loadu(b + i * row));
            store(out + VL, loadu(b + i * row + VL));
        }
        return;
    }
    size_t blocked = row == 1 ? k / VL * VL : 0; /* b is transposed: turn it VL by VL in registers */
    for (size_t i = 0; i < blocked; i += VL)
        for (size_t j = 0; j < 2 * VL; j += VL) {
            V block[VL];
            for (size_t r = 0; r < VL; r++) block[r] = j + r < n ? loadu(b + (j + r) * col + i) : (V){0};
            transpose(block);
            for (size_t r = 0; r < VL; r++) store(out + (i + r) * 2 * VL + j, block[r]);
        }
    for (size_t j = 0; j < 2 * VL; j++)
        for (size_t i = blocked; i < k; i++) out[i * 2 * VL + j] = j < n ? b[i * row + j * col] : 0;
}

INLINE void matmul_tile(int rows, size_t k, const T *a, size_t a_row, size_t a_col, const T *b, size_t ldb,
                           T *c, size_t ldc, size_t n, int add) {
    V acc[FDL_TILE_MAX][2];
    tile_clear(rows, 2, acc);
    tile(rows, 2, k, a, a_row, a_col, b, ldb, acc);
#pragma GCC unroll 12
    for (int r = 0; r < rows; r++) {
        T *to = c + (size_t)r * ldc;
        if (n == 2 * VL) {
            for (size_t j = 0; j < 2; j++) {
                V v = acc[r][j];
                if (add) v += loadu(to + j * VL);
                storeu(to + j * VL, v);
            }
        } else {
            T value[2 * VL];
            __builtin_memcpy(value, acc[r], sizeof value);
            for (size_t j = 0; j < n; j++) to[j] = add ? to[j] + value[j] : value[j];
        }
    }
}

static void matmul(const fdl_matmul *x, size_t m0, size_t m1, void *buffer) {
    const T *a = x->a, *b = x->b;
    T *c = x->c, *packed_a = buffer, *packed_b = packed_a + FDL_BLOCK_K * FDL_BLOCK_M;
    int packed = packs_b(x);
    for (size_t k0 = 0; k0 < x->k; k0 += FDL_BLOCK_K) {
        size_t k = x->k - k0 < FDL_BLOCK_K ? x->k - k0 : FDL_BLOCK_K;
        for (size_t i0 = m0, m; i0 < m1; i0 += m) {
            size_t left = m1 - i0, blocks = (left + FDL_BLOCK_M - 1) / FDL_BLOCK_M; /* of about one size */
            m = blocks == 1 ? left : (left / blocks + 11) / 12 * 12;
            pack_a(a + i0 * x->a_row + k0 * x->a_col, x->a_row, x->a_col, m, k, packed_a);
            for (size_t j0 = 0; j0 < x->n; j0 += 2 * VL) {
                size_t n = x->n - j0 < 2 * VL ? x->n - j0 : 2 * VL, ldb = x->b_row;
                const T *strip = b + k0 * x->b_row + j0 * x->b_col;
                if (packed || n < 2 * VL) {
                    pack_b(strip, x->b_row, x->b_col, n, k, packed_b);
                    strip = packed_b, ldb = 2 * VL;
                }
#define STEP(rows, i)                                                                                     \
    matmul_tile(rows, k, packed_a + (i) * k, 1, rows, strip, ldb, c + (i0 + (i)) * x->ldc + j0, x->ldc, \
                   n, k0 > 0)
                FDL_FOR_TILES(STEP, 0, m);
#undef STEP
            }
        }
    }
    if (x->k == 0)
        for (size_t i = m0; i < m1; i++)
            for (size_t j = 0; j < x->n; j++) c[i * x->ldc + j] = 0;
}

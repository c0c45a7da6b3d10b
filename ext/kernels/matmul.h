/* Row-major matrix product, after Goto and van de Geijn (2008): strips of b, and blocks of a that are read often, are
 * packed so that the tile reads them in order. */
#ifndef FDL_KERNELS_MATMUL_H
#define FDL_KERNELS_MATMUL_H

#include "../kernels.h"
#include "../shared/tile.h"
#include "../shared/vec.h"

#define FDL_BLOCK_K 512  /* inputs of a block */
#define FDL_GROUP 49152  /* elements of b that are packed at once, and then multiplied with every tile of a block of a */
#define FDL_BLOCK_M 1032 /* rows of a block of a; a multiple of both tile heights */

/* Whether a is packed. A tile reads a in as many streams as it has rows, which is as fast as reading it packed, unless the
 * block is read so often that the copy pays, or its rows lie at distances that map them to the same sets of the cache. */
INLINE int packs_a(const fdl_matmul *x) {
    size_t stride = (x->a_row == 1 ? x->a_col : x->a_row) * sizeof(T);
    int crowded = stride % 1024 == 0 && (x->a_row == 1 ? x->k : x->m) > 8;
    return crowded || (x->m > 64 && x->k > 64 && x->n > 128);
}

/* Inputs of one block, and the strips of b that are packed at a time. */
INLINE size_t block_k(const fdl_matmul *x) {
    size_t most = x->n <= 2 * VL ? 2 * FDL_BLOCK_K : FDL_BLOCK_K;
    return x->k < most ? x->k : most;
}
INLINE size_t group_of(const fdl_matmul *x, size_t k) {
    size_t strips = (x->n + 2 * VL - 1) / (2 * VL), fit = FDL_GROUP / (k * 2 * VL);
    return fit < 1 ? 1 : fit < strips ? fit : strips;
}

/* With few rows of c, c^T = op(b)^T op(a)^T is faster: it reads b where it lies and packs the few rows of a. */
INLINE int turns(const fdl_matmul *x) { return x->m <= 64; }
INLINE fdl_matmul turn(const fdl_matmul *x, size_t m0, size_t m1) {
    return (fdl_matmul){.m = x->n, .n = m1 - m0, .k = x->k, .a = x->b, .b = (const T *)x->a + m0 * x->a_row,
                        .c = (T *)x->c + m0 * x->ldc, .a_row = x->b_col, .a_col = x->b_row, .b_row = x->a_col,
                        .b_col = x->a_row, .ldc = x->ldc};
}

static size_t matmul_buffer(const fdl_matmul *args) {
    fdl_matmul turned = turn(args, 0, args->m);
    const fdl_matmul *x = turns(args) ? &turned : args;
    size_t k = block_k(x), m = x->m < FDL_BLOCK_M ? x->m : FDL_BLOCK_M;
    return ((k * m + VL) * packs_a(x) + group_of(x, k) * k * 2 * VL) * sizeof(T) + 128;
}

/* out[k][rows] = a[row][k]: one tile's rows, turned VL by VL in registers. Vectors are stored whole, so up to VL elements
 * behind the tile are written too; the next tile overwrites them. */
INLINE T *pack_tile(int rows, const T *a, size_t row, size_t col, size_t k, T *out) {
    size_t j = 0;
    if (col == 1 && rows <= (int)VL)
        for (; j + VL <= k; j += VL) {
            V block[VL];
            for (size_t r = 0; r < VL; r++) block[r] = (int)r < rows ? loadu(a + r * row + j) : (V){0};
            transpose(block);
            for (size_t r = 0; r < VL; r++, out += rows) storeu(out, block[r]);
        }
    for (; j < k; j++)
        for (int r = 0; r < rows; r++) *out++ = a[(size_t)r * row + j * col];
    return out;
}

/* out[i / h][k][i % h] = a[i][k], for the tile heights h that for_tiles makes of [0, m). */
typedef struct {
    const T *a;
    size_t row, col, k;
    T *out; /* where the next tile goes */
} packing;
INLINE void pack_rows(void *context, int rows, size_t i) {
    packing *to = context;
    to->out = pack_tile(rows, to->a + i * to->row, to->row, to->col, to->k, to->out);
}
static void pack_a(const T *a, size_t row, size_t col, size_t m, size_t k, T *out) {
    packing to = {a, row, col, k, out};
    for_tiles(pack_rows, &to, 0, m);
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

/* One tile of c, n columns wide: c = a b, or c += a b. turned: c lies transposed, ldc from column to column. */
INLINE void matmul_tile(int rows, int wide, size_t k, const T *a, size_t a_row, size_t a_col, const T *b, size_t ldb,
                        T *c, size_t ldc, size_t n, int add, int turned) {
    V acc[FDL_TILE_MAX][2];
    tile_clear(rows, wide, acc);
    tile(rows, wide, k, a, a_row, a_col, b, ldb, acc);
    if (!turned && n == wide * VL) {
#pragma GCC unroll 12
        for (int r = 0; r < rows; r++)
            for (int j = 0; j < wide; j++) {
                T *to = c + (size_t)r * ldc + j * VL;
                V v = acc[r][j];
                if (add) v += loadu(to);
                storeu(to, v);
            }
        return;
    }
    T value[FDL_TILE_MAX][2 * VL];
#pragma GCC unroll 12
    for (int r = 0; r < rows; r++)
        for (int j = 0; j < wide; j++) storeu(value[r] + j * VL, acc[r][j]);
    size_t row = turned ? 1 : ldc, column = turned ? ldc : 1;
    for (size_t j = 0; j < n; j++)
        for (int r = 0; r < rows; r++) {
            T *to = c + r * row + j * column;
            *to = add ? *to + value[r][j] : value[r][j];
        }
}

/* Rows of c from a block of a and a group of strips of packed b: columns [g0, g1), inputs [k0, k0 + k). */
typedef struct {
    const fdl_matmul *x;
    const T *a, *b; /* the block of a, packed in tiles or where it lies; packed b */
    T *c;
    size_t k0, k, g0, g1;
    int in_tiles, turned;
} group_product;
INLINE void multiply_rows(void *context, int rows, size_t i) {
    const group_product *g = context;
    const fdl_matmul *x = g->x;
    const T *from = g->in_tiles ? g->a + i * g->k : g->a + i * x->a_row;
    size_t a_row = g->in_tiles ? 1 : x->a_row, a_col = g->in_tiles ? (size_t)rows : x->a_col;
    size_t row = g->turned ? 1 : x->ldc, column = g->turned ? x->ldc : 1;
    for (size_t j = g->g0; j < g->g1; j += 2 * VL) {
        size_t n = g->g1 - j < 2 * VL ? g->g1 - j : 2 * VL;
        const T *strip = g->b + (j - g->g0) * g->k;
        T *to = g->c + i * row + j * column;
        if (n > VL) matmul_tile(rows, 2, g->k, from, a_row, a_col, strip, 2 * VL, to, x->ldc, n, g->k0 > 0, g->turned);
        else matmul_tile(rows, 1, g->k, from, a_row, a_col, strip, 2 * VL, to, x->ldc, n, g->k0 > 0, g->turned);
    }
}

/* Rows [m0, m1) of c. turned: c lies transposed. */
static void matmul_blocks(const fdl_matmul *x, size_t m0, size_t m1, T *buffer, int turned) {
    const T *a = x->a, *b = x->b;
    int in_tiles = packs_a(x);
    size_t row = turned ? 1 : x->ldc, most = block_k(x), group = group_of(x, most) * 2 * VL;
    T *c = x->c, *packed_b = buffer, *packed_a = packed_b + group * most;
    for (size_t k0 = 0, k; k0 < x->k; k0 += k) {
        k = x->k - k0 < most ? x->k - k0 : most;
        for (size_t i0 = m0, m; i0 < m1; i0 += m) {
            size_t left = m1 - i0, blocks = (left + FDL_BLOCK_M - 1) / FDL_BLOCK_M; /* of about one size */
            m = blocks == 1 ? left : (left / blocks + 11) / 12 * 12;
            const T *block = a + i0 * x->a_row + k0 * x->a_col;
            if (in_tiles) pack_a(block, x->a_row, x->a_col, m, k, packed_a);
            for (size_t g0 = 0; g0 < x->n; g0 += group) {
                size_t g1 = x->n - g0 < group ? x->n : g0 + group;
                for (size_t j = g0; j < g1; j += 2 * VL)
                    pack_b(b + k0 * x->b_row + j * x->b_col, x->b_row, x->b_col, g1 - j < 2 * VL ? g1 - j : 2 * VL, k,
                           packed_b + (j - g0) * k);
                group_product product = {x, in_tiles ? packed_a : block, packed_b, c + i0 * row, k0, k, g0, g1, in_tiles,
                                         turned};
                for_tiles(multiply_rows, &product, 0, m);
            }
        }
    }
}

static void matmul(const fdl_matmul *x, size_t m0, size_t m1, void *buffer) {
    fdl_matmul turned = turn(x, m0, m1);
    if (turns(x)) matmul_blocks(&turned, 0, turned.m, buffer, 1);
    else matmul_blocks(x, m0, m1, buffer, 0);
}

#endif

/* The register tile that every matrix product runs on, and how a range of rows is cut into tiles.
 *
 * acc[i][j] += sum over k of a[i * a_row + k * a_col] * b[k * ldb + j * VL ...]: rows of a are broadcast,
 * b is read in vectors. The products differ only in what they call a and b:
 *   forward         a = W^T, b = panel of x      weight gradient  a = panel of x, b = dy transposed
 *   input gradient  a = W,   b = panel of dy     matmul           a = a, b = b
 * The sum over k runs in order in one accumulator, whatever the tile's height, so an element's bits do not
 * depend on the tile it fell into.
 */
#ifndef FDL_SHARED_TILE_H
#define FDL_SHARED_TILE_H

#include "../kernels.h"
#include "vec.h"

#define FDL_TILE_MAX 12
#define FDL_GRADIENT_BLOCK (4 * FDL_STRIP) /* input gradients are summed in blocks this long */

/* Rows of the tallest tile: its accumulators, two vectors a row, fill the registers. */
#if FDL_VBYTES == 64 || defined(__aarch64__)
#define FDL_TILE_ROWS 12
#else
#define FDL_TILE_ROWS 6
#endif

INLINE void tile(int rows, int wide, size_t k, const T *a, size_t a_row, size_t a_col, const T *b,
                 size_t ldb, V acc[FDL_TILE_MAX][2]) {
    for (size_t i = 0; i < k; i++, a += a_col, b += ldb) {
        V b0 = loadu(b), b1 = wide == 2 ? loadu(b + VL) : b0;
#pragma GCC unroll 12
        for (int r = 0; r < rows; r++) {
            V x = splat(a[(size_t)r * a_row]);
            acc[r][0] += x * b0;
            if (wide == 2) acc[r][1] += x * b1;
        }
    }
}

INLINE void tile_clear(int rows, int wide, V acc[FDL_TILE_MAX][2]) {
#pragma GCC unroll 12
    for (int r = 0; r < rows; r++) {
        acc[r][0] = (V){0};
        if (wide == 2) acc[r][1] = (V){0};
    }
}

INLINE void tile_load(int rows, int wide, const T *from, size_t ld, V acc[FDL_TILE_MAX][2]) {
#pragma GCC unroll 12
    for (int r = 0; r < rows; r++)
        for (int j = 0; j < wide; j++) acc[r][j] = load(from + r * ld + j * VL);
}

INLINE void tile_store(int rows, int wide, V acc[FDL_TILE_MAX][2], T *to, size_t ld) {
#pragma GCC unroll 12
    for (int r = 0; r < rows; r++)
        for (int j = 0; j < wide; j++) store(to + r * ld + j * VL, acc[r][j]);
}

INLINE void tile_add(int rows, int wide, V acc[FDL_TILE_MAX][2], V other[FDL_TILE_MAX][2]) {
#pragma GCC unroll 12
    for (int r = 0; r < rows; r++)
        for (int j = 0; j < wide; j++) acc[r][j] += other[r][j];
}

/* out (rows, wide VL; FDL_PANEL from row to row) = the sum over k in blocks, each from zero: float32 rounding then
 * grows with block + k / block, not with k. `out` holds the sums so far, acc the last block's, added to them. */
INLINE void tile_in_blocks(int rows, int wide, size_t k, size_t block, const T *a, size_t a_row, size_t a_col,
                           const T *b, T *out, V acc[FDL_TILE_MAX][2]) {
    V sum[FDL_TILE_MAX][2];
    for (size_t done = 0;; done += block, a += block * a_col, b += block * FDL_PANEL) {
        tile_clear(rows, wide, acc);
        tile(rows, wide, k - done < block ? k - done : block, a, a_row, a_col, b, FDL_PANEL, acc);
        if (done > 0) {
            tile_load(rows, wide, out, FDL_PANEL, sum);
            tile_add(rows, wide, acc, sum);
        }
        if (done + block >= k) return;
        tile_store(rows, wide, acc, out, FDL_PANEL);
    }
}

/* Calls each(context, rows, row) for the tiles of rows [row, end), tallest tiles first. `rows` is a constant in each call:
 * `each` is inlined once for each height. */
typedef void (*tile_body)(void *context, int rows, size_t row);
INLINE void for_tiles(tile_body each, void *context, size_t row, size_t end) {
    if (FDL_TILE_ROWS == 12) {
        for (; row + 12 <= end; row += 12) each(context, 12, row);
        if (row + 8 <= end) each(context, 8, row), row += 8;
    } else { /* eight left are twice four, not six and two */
        for (; row + 6 <= end && row + 8 != end; row += 6) each(context, 6, row);
        if (row + 8 == end) each(context, 4, row), row += 4;
    }
    if (row + 4 <= end) each(context, 4, row), row += 4;
    if (row + 2 <= end) each(context, 2, row), row += 2;
    if (row < end) each(context, 1, row);
}

#endif

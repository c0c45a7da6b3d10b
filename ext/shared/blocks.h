/* Sums over the samples of each feature, VL features at a time.
 *
 * Each feature of a block has a vector of partial sums over its samples, which sum_rows turns into one vector with a
 * feature a lane. What is summed is a function that is passed in and inlined: a loop over full vectors calls it with a
 * mask that is a constant, a last call with the mask of the batch's lanes.
 */
#ifndef FDL_SHARED_BLOCKS_H
#define FDL_SHARED_BLOCKS_H

#include "../kernels.h"
#include "panels.h"
#include "vec.h"

/* A vector of one feature's samples: the feature's number in its block, the vector's offset in (P, n, 32) and its first
 * sample's in (P, 32), and which lanes belong to the batch. */
typedef struct {
    size_t feature, offset, sample;
    VI in_batch;
} block_vector;

/* Returns what the vector adds to its feature's sum; zero in the lanes that are not of the batch. */
typedef V (*block_term)(const void *of, block_vector at);

/* The partial sums of a block's features. A struct, because the compiler then knows how many there are, and holds those of a
 * block that is not full in registers too. */
typedef struct {
    V feature[VL];
} block_sums;

/* Adds `term` over the batch's samples to the sums of `count` features, at most VL, which are features first + j of n. */
INLINE void add_block(block_sums *sum, size_t n, size_t first, size_t count, size_t batch, block_term term, const void *of) {
    for (size_t p = 0; p * FDL_PANEL < batch; p++) {
        size_t samples = samples_in(batch, p), at = (p * n + first) * FDL_PANEL, lane = 0;
        for (; lane + VL <= samples; lane += VL)
#pragma GCC unroll 16
            for (size_t j = 0; j < count; j++)
                sum->feature[j] += term(of, (block_vector){j, at + j * FDL_PANEL + lane, p * FDL_PANEL + lane, ~(VI){0}});
        if (lane < samples) {
            const VI in_batch = lanes_below(lane, samples);
#pragma GCC unroll 16
            for (size_t j = 0; j < count; j++)
                sum->feature[j] += term(of, (block_vector){j, at + j * FDL_PANEL + lane, p * FDL_PANEL + lane, in_batch});
        }
    }
}

/* The sums themselves, one feature a lane. */
INLINE V sum_block(size_t n, size_t first, size_t count, size_t batch, block_term term, const void *of) {
    block_sums sum = {{{0}}};
    add_block(&sum, n, first, count, batch, term, of);
    return sum_rows(sum.feature);
}

/* The term of a plain sum of x (P, n, 32). */
INLINE V value_term(const void *x, block_vector at) { return keep(at.in_batch, load((const T *)x + at.offset)); }

/* Calls block(args, f, m, batch) for the blocks of m features from f on that features [f0, f1) are cut into. m is the
 * constant VL in the calls for full blocks. */
typedef void (*feature_block)(const void *args, size_t f, size_t m, size_t batch);
INLINE void for_blocks(feature_block block, const void *args, size_t f0, size_t f1, size_t batch) {
    size_t f = f0;
    for (; f + VL <= f1; f += VL) block(args, f, VL, batch);
    if (f < f1) block(args, f, f1 - f, batch);
}

#endif

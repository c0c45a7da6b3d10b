/* Where things lie: samples in panels, vectors of samples in a panel, rows outside the program, weights in strips. The
 * layouts themselves are described in kernels.h. */
#ifndef FDL_SHARED_PANELS_H
#define FDL_SHARED_PANELS_H

#include "../kernels.h"
#include "vec.h"

/* Samples of the batch in panel p, and the vectors that hold them. */
INLINE size_t samples_in(size_t batch, size_t p) {
    size_t left = batch - p * FDL_PANEL;
    return left < FDL_PANEL ? left : FDL_PANEL;
}
INLINE size_t vectors_for(size_t samples) { return (samples + VL - 1) / VL; }

/* The batch's panel that panel p of a kernel's range is of, and the samples in it: where samples have members, that many
 * panels in a row are of one (see kernels.h). */
INLINE size_t panel_of(const fdl_step *step, size_t p) { return step->members == 1 ? p : p / step->members; }
INLINE size_t samples_of(const fdl_step *step, size_t p) { return samples_in(step->batch, panel_of(step, p)); }

/* The row number of the batch's sample, in the feeds. */
INLINE size_t row_of(const fdl_step *step, size_t sample) {
    return step->index ? (size_t)step->index[step->start + sample] : step->start + sample;
}

/* Where column f of a (k, n) weight matrix in strips starts; of a vector (k = 1), its element f. */
INLINE size_t column(size_t k, size_t f) { return f / FDL_STRIP * k * FDL_STRIP + f % FDL_STRIP; }

/* A vector of samples: those of panel p from `lane` on. `samples` of the panel are of the batch, the others idle. */
typedef struct {
    size_t p, lane, samples;
} lanes;

/* The first of panel p. All of a range are
 *     for (size_t p = range.p0; p < range.p1; p++)
 *         for (lanes at = first_lanes(step, p); at.lane < at.samples; at.lane += VL) */
INLINE lanes first_lanes(const fdl_step *step, size_t p) { return (lanes){p, 0, samples_of(step, p)}; }

/* Where such a vector lies in (P, n, 32), its first feature; the next feature lies FDL_PANEL further. And in (P, 32). */
INLINE size_t in_features(lanes at, size_t n) { return at.p * n * FDL_PANEL + at.lane; }
INLINE size_t in_samples(lanes at) { return at.p * FDL_PANEL + at.lane; }

/* The sum of those lanes that belong to the batch. */
INLINE double sum_samples(V v, lanes at) {
    return (double)sum_lanes(at.lane + VL <= at.samples ? v : keep(lanes_below(at.lane, at.samples), v));
}

#endif

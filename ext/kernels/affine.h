/* An affine map of each feature, y = (x - center) scale + offset. Several features may share one
 * number: feature f has number (f / inner) % count. */
#ifndef FDL_KERNELS_AFFINE_H
#define FDL_KERNELS_AFFINE_H

#include "../kernels.h"
#include "../shared/vec.h"

/* The scale that `spread` stands for: spread itself (FDL_SCALE), or the root of it (FDL_ROOT), or one over that root
 * (FDL_INVERSE_ROOT). The root is no less than `least`. */
INLINE T scale_of(T spread, size_t kind, double least) {
    if (kind == FDL_SCALE) return spread;
    double root = __builtin_sqrt((double)spread);
    if (root < least) root = least;
    return (T)(kind == FDL_ROOT ? root : 1 / root);
}

/* y = (x - center) scale + offset */
static void affine(const void *args, fdl_range range, const fdl_step *step, void *scratch) {
    const affine_args *a = args;
    const T *x = a->x, *center = a->center, *spread = a->spread, *offset = a->offset;
    T *y = a->y;
    size_t n = a->features, inner = a->inner, count = a->count;
    (void)step, (void)scratch;
    for (size_t p = range.p0; p < range.p1; p++)
        for (size_t f = range.f0; f < range.f1; f++) {
            size_t number = f / inner % count, at = (p * n + f) * FDL_PANEL;
            T from = center ? center[number] : 0, to = offset ? offset[number] : 0;
            T scale = spread ? scale_of(spread[number], a->spread_is, a->least) : 1;
            for (size_t i = at; i < at + FDL_PANEL; i += VL) store(y + i, (load(x + i) - from) * scale + to);
        }
}

#endif

/* What a kernel does to a dense layer's sums before it stores them: bias, batch norm, ReLU. */
#ifndef FDL_KERNELS_FORWARD_END_H
#define FDL_KERNELS_FORWARD_END_H

#include "../kernels.h"
#include "../shared/vec.h"

/* What follows a dense layer's sums, by feature: act((sum + b - mean) scale + shift). Each may be NULL, mean only with
 * scale. */
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

#endif

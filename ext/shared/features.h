/* Over the features of VL samples at once, lane by lane. x: the first feature's vector; the next feature lies FDL_PANEL
 * further. Softmax, losses and metrics are made of these. */
#ifndef FDL_SHARED_FEATURES_H
#define FDL_SHARED_FEATURES_H

#include "../kernels.h"
#include "vec.h"

/* The largest of n features. */
INLINE V largest(const T *x, size_t n) {
    V top = load(x);
    for (size_t f = 1; f < n; f++) top = larger(top, load(x + f * FDL_PANEL));
    return top;
}

/* The first feature that holds the largest value. */
INLINE VI argmax(const T *x, size_t n) {
    V top = load(x);
    VI at = {0};
    for (size_t f = 1; f < n; f++) {
        V v = load(x + f * FDL_PANEL);
        VI above = v > top;
        top = choose(above, v, top);
        at = (above & ((I)f - (VI){0})) | (~above & at);
    }
    return at;
}

/* x *= scale */
INLINE void scale_features(T *x, size_t n, V scale) {
    for (size_t f = 0; f < n; f++) store(x + f * FDL_PANEL, load(x + f * FDL_PANEL) * scale);
}

#endif

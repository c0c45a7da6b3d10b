/* The slope of a penalty l1 |w| + l2 w^2: what optimizers add to gradients, and what activities get. Zero where w is. */
#ifndef FDL_SHARED_PENALTY_H
#define FDL_SHARED_PENALTY_H

#include "vec.h"

INLINE V penalty_slope(V w, T l1, T l2) { return l1 * sign(w) + 2 * l2 * w; }

#endif

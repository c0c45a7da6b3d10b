/* What each kernel is called with, as data: read off the table in kernels.h for the binding to check against. */
#ifndef FDL_SIGNATURE_H
#define FDL_SIGNATURE_H

#include "kernels.h"

typedef struct {
    const char *name;
    int pointers, sizes, scalars;
} fdl_signature;

#define FDL_SIGNATURE(name, pointers, sizes, scalars) {#name, pointers, sizes, scalars},
static const fdl_signature fdl_signatures[] = {FDL_KERNELS(FDL_SIGNATURE)};
#undef FDL_SIGNATURE

#endif

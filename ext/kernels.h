/* What kernels and their callers share: the layout of arrays, the arguments, the builds. table.h lists the kernels.
 *
 * Layout. Activations live in panels: (panels, features, FDL_PANEL), feature-major, where a panel holds FDL_PANEL
 * consecutive samples of the batch side by side. A vector is then always "one feature of several samples", whatever the
 * operation. Lanes beyond the batch are idle: they hold finite numbers without meaning, which sums over samples leave out.
 * Weights of a dense layer (in, out) lie in strips: (strips, in, FDL_STRIP), where a strip holds FDL_STRIP consecutive
 * outputs, so that each tile of each product reads and steps them in memory order. A matrix whose rows are looked up lies
 * row by row instead, to all else a vector. Vectors are padded to FDL_UNIT elements. The padding holds zeros. All buffers are 64-byte aligned.
 *
 * Work is split by features (in units of FDL_UNIT) or by panels; a kernel is told its share as a range and
 * computes every element in an order that does not depend on that share, so results never depend on the
 * number of threads.
 *
 * Members. A sample of (members, features) lies in panels as members x features features: feature by feature of the first
 * member, then of the second. So (P, members features, 32) are P x members panels of `features` features each, and a kernel
 * that works panel by panel works on a sample's members one by one, without knowing of them: it is told a range of these
 * panels, and `panel_of` and `samples_of` (shared/panels.h) tell what the panels are of.
 */
#ifndef FDL_KERNELS_H
#define FDL_KERNELS_H

#include <stddef.h>
#include <stdint.h>

#include "table.h"
#include "variants.h"

#define FDL_PANEL 32      /* samples in a panel */
#define FDL_STRIP 32      /* outputs in a strip of weights */
#define FDL_UNIT 16       /* features in a unit of work: one cache line of float32 */
#define FDL_CHUNK 256     /* samples of a weight gradient accumulated in registers and L1 at once */
#define FDL_SCRATCH 65536 /* bytes of private memory that each thread lends to a kernel */
#define FDL_MAX_ARGUMENTS 32 /* of a kernel */
#define FDL_MAX_FEEDS 64   /* of rows outside a program: its inputs, targets, weights and outputs */
#define FDL_MAX_RATES 5
#define FDL_MAX_WAVES 512        /* of a number: as many vectors fit into FDL_SCRATCH */
#define FDL_MAX_WAVE_OUTPUTS 64  /* of what is made of them */
#define FDL_SEEDED ((size_t)1 << 48) /* random streams from here on are those of seeds */

/* A share of the work: panels [p0, p1) and features [f0, f1). A program cuts its panels into parts, the same ones
 * for any number of threads; when work is split by panels, [p0, p1) is one part and `part` its number. When it is split by
 * halves of a sum, `part` is 0 or 1 for a half, FDL_BOTH for all of it. */
#define FDL_BOTH 2
typedef struct {
    size_t p0, p1, f0, f1, part;
} fdl_range;

/* An array of rows outside the program (data, targets, predictions): row i starts at data + i * stride. */
typedef struct {
    char *data;
    ptrdiff_t stride; /* bytes */
} fdl_feed;

/* What changes from one step to the next. */
typedef struct {
    size_t batch;                 /* rows in this batch */
    size_t start;                 /* first row of this batch, when index is NULL */
    const int64_t *index;         /* the batch's row numbers (batch), or NULL */
    const double *rates;          /* (FDL_MAX_RATES) computed by the optimizer's class: step sizes, and the learning rate
                                     last, which weights decay with */
    const double *values;         /* (value_count) what follows a schedule, or NULL */
    size_t value_count;
    size_t members;               /* of the kernel that runs: see below */
    uint64_t step;                /* steps taken so far by the model, drives random numbers */
    uint64_t seed;
    fdl_feed feed[FDL_MAX_FEEDS];
} fdl_step;

/* args: the kernel's own struct, see below. */
typedef void (*fdl_kernel)(const void *args, fdl_range range, const fdl_step *step, void *scratch);

/* What kernels are called with: for each a struct, name_args, whose fields bear the names of the table; all of them fit
 * into an fdl_args, one argument a slot, in the table's order. */
typedef union {
    const void *p;
    size_t n;
    double s;
} fdl_slot;
typedef struct {
    fdl_slot slot[FDL_MAX_ARGUMENTS];
} fdl_args;
_Static_assert(sizeof(void *) == 8 && sizeof(size_t) == 8 && sizeof(double) == 8, "arguments of one size lie slot by slot");

#define FDL_TYPE_READ const void *
#define FDL_TYPE_WRITTEN void *
#define FDL_TYPE_SIZE size_t
#define FDL_TYPE_SCALAR double
#define FDL_ONE(kind, name, optional, what) FDL_TYPE_##kind name;
#define FDL_SEVERAL(kind, name, count, optional, what) FDL_TYPE_##kind name[count];
#define FDL_STRUCT(name, arguments, what)                                                  \
    typedef struct {                                                                       \
        arguments                                                                          \
    } name##_args;                                                                         \
    _Static_assert(sizeof(name##_args) <= sizeof(fdl_args), "too many arguments: " #name);
FDL_KERNELS(FDL_STRUCT)
/* What several kernels' structs begin with. */
FDL_STRUCT(motion, FDL_MOTION_SETTINGS, "")
FDL_STRUCT(terminal, FDL_TERMINAL, "")
FDL_STRUCT(counter, FDL_COUNTER, "")
FDL_STRUCT(periodic, FDL_PERIODIC, "")
#undef FDL_STRUCT
#undef FDL_SEVERAL
#undef FDL_ONE
#undef FDL_TYPE_SCALAR
#undef FDL_TYPE_SIZE
#undef FDL_TYPE_WRITTEN
#undef FDL_TYPE_READ

#define FDL_ENUM(name, arguments, what) FDL_K_##name,
enum { FDL_KERNELS(FDL_ENUM) FDL_KERNEL_COUNT };
#undef FDL_ENUM

/* c = op(a) op(b), all row-major; rows [m0, m1) of c.  op(a): (m, k), op(b): (k, n); the strides (in
 * elements) of a and b stand for their transpositions.  buffer: fdl_matmul_buffer bytes, 64-byte aligned. */
typedef struct {
    size_t m, n, k;
    const void *a, *b;
    void *c;
    size_t a_row, a_col, b_row, b_col, ldc;
} fdl_matmul;

/* The kernels of one element type, built for one instruction set. */
typedef struct {
    size_t vector_bytes;
    fdl_kernel kernel[FDL_KERNEL_COUNT];
    void (*matmul)(const fdl_matmul *args, size_t m0, size_t m1, void *buffer);
    size_t (*matmul_buffer)(const fdl_matmul *args); /* bytes */
    int (*finite)(const void *x, size_t n); /* whether none of x (n) is NaN or infinite */
} fdl_build;

extern const fdl_build fdl_portable_f32, fdl_portable_f64;
#if defined(__x86_64__)
extern const fdl_build fdl_v3_f32, fdl_v3_f64, fdl_v4_f32, fdl_v4_f64;
#endif

#endif

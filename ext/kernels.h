/* The kernel table: every operation on arrays that fastdl's programs are made of.
 *
 * Layout. Activations live in panels: (panels, features, FDL_PANEL), feature-major, where a panel holds
 * FDL_PANEL consecutive samples of the batch side by side. A vector is then always "one feature of several
 * samples", whatever the operation. Lanes beyond the batch hold finite junk; what sums over samples skips
 * them. Weights of a dense layer (in, out) lie in strips: (strips, in, FDL_STRIP), where a strip holds FDL_STRIP
 * consecutive outputs, so that each tile of each product reads and steps them in the order they lie in.
 * Per-feature vectors are padded to FDL_UNIT elements. The padding holds zeros. All buffers are 64-byte aligned.
 *
 * Work is split by features (in units of FDL_UNIT) or by panels; a kernel is told its share as a range and
 * computes every element in an order that does not depend on that share, so results never depend on the
 * number of threads.
 */
#ifndef FDL_KERNELS_H
#define FDL_KERNELS_H

#include <stddef.h>
#include <stdint.h>

#define FDL_PANEL 32      /* samples in a panel */
#define FDL_STRIP 32      /* outputs in a strip of weights */
#define FDL_UNIT 16       /* features in a unit of work: one cache line of float32 */
#define FDL_CHUNK 256     /* samples of a weight gradient accumulated in registers and L1 at once */
#define FDL_SCRATCH 65536 /* bytes of private memory that each thread lends to a kernel */
#define FDL_MAX_ARGUMENTS 32 /* of a kernel */
#define FDL_MAX_FEEDS 64   /* of rows outside a program: its inputs, targets, weights and outputs */
#define FDL_MAX_RATES 4
#define FDL_SEEDED ((size_t)1 << 48) /* random streams from here on are those of seeds */

/* A share of the work: panels [p0, p1) and features [f0, f1). A program cuts its panels into parts, the same ones
 * for any number of threads; when work is split by panels, p0 and p1 are those of the part. When it is split by halves
 * of a sum, part tells which half, FDL_BOTH for all of it. */
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
    uint64_t step;                /* steps taken so far by the model, drives random numbers */
    uint64_t seed;
    fdl_feed feed[FDL_MAX_FEEDS];
} fdl_step;

/* args: the kernel's own struct, see below. */
typedef void (*fdl_kernel)(const void *args, fdl_range range, const fdl_step *step, void *scratch);

/* Optimizer rules: X(name, slots kept for each parameter). Their formulas stand in kernels/optimizers.h. */
#define FDL_RULES(X)                \
    X(sgd, 0)                       \
    X(momentum, 1)                  \
    X(nesterov, 1)                  \
    X(adagrad, 1)                   \
    X(rmsprop, 1)                   \
    X(rmsprop_momentum, 2)          \
    X(rmsprop_centered, 2)          \
    X(rmsprop_centered_momentum, 3) \
    X(adadelta, 2)                  \
    X(adam, 2)                      \
    X(amsgrad, 3)                   \
    X(adamax, 2)                    \
    X(nadam, 2)                     \
    X(lion, 1)
#define FDL_MAX_SLOTS 3
#define FDL_ENUM(name, slots) FDL_RULE_##name,
enum { FDL_RULES(FDL_ENUM) FDL_RULE_COUNT };
#undef FDL_ENUM

/* Which weights a norm is of. */
enum { FDL_NORM_COLUMNS, FDL_NORM_ROWS, FDL_NORM_ALL };

/* What dense and batch norm can do to their output at once. */
enum { FDL_LINEAR, FDL_RELU };

/* What an affine map's spread is: its scale, or a variance whose root is the scale, or one over it. */
enum { FDL_SCALE, FDL_ROOT, FDL_INVERSE_ROOT };

/* Activations: X(name, whether the derivative is computed from the output y or needs the input x). Their formulas
 * stand in kernels/activations.h. */
#define FDL_ACTIVATIONS(X) \
    X(relu, y)             \
    X(relu6, y)            \
    X(leaky_relu, y)       \
    X(rectify, x)          \
    X(sigmoid, y)          \
    X(hard_sigmoid, y)     \
    X(tanh, y)             \
    X(exponential, y)      \
    X(softplus, y)         \
    X(softsign, y)         \
    X(elu, y)              \
    X(rescale, y)          \
    X(silu, x)             \
    X(hard_silu, x)        \
    X(mish, x)             \
    X(gelu, x)             \
    X(gelu_tanh, x)
#define FDL_ACTIVATION_SCALARS 3
#define FDL_ENUM(name, reads) FDL_ACTIVATION_##name,
enum { FDL_ACTIVATIONS(FDL_ENUM) FDL_ACTIVATION_COUNT };
#undef FDL_ENUM

/* Noise: X(name, what is drawn, what the gradient reads besides dy: x or none). Formulas in kernels/noise.h. */
#define FDL_NOISES(X)                    \
    X(gaussian_noise, normal, none)      \
    X(gaussian_dropout, normal, none)    \
    X(alpha_dropout, uniform, none)      \
    X(rrelu, uniform, x)
#define FDL_NOISE_SCALARS 4
#define FDL_ENUM(name, draws, reads) FDL_NOISE_##name,
enum { FDL_NOISES(FDL_ENUM) FDL_NOISE_COUNT };
#undef FDL_ENUM

/* Ways to move an image at random: X(name). Their formulas stand in kernels/motion.h. */
#define FDL_MOTIONS(X) \
    X(flip)            \
    X(translation)     \
    X(rotation)        \
    X(zoom)            \
    X(even_zoom)
#define FDL_ENUM(name) FDL_MOTION_##name,
enum { FDL_MOTIONS(FDL_ENUM) FDL_MOTION_COUNT };
#undef FDL_ENUM

/* What stands outside an image a b c d: k k a b c d k k, a a a b c d d d, b a a b c d d c, c d a b c d a b. */
enum { FDL_FILL_CONSTANT, FDL_FILL_NEAREST, FDL_FILL_REFLECT, FDL_FILL_WRAP };

/* Losses element by element: X(name). Their formulas stand in kernels/losses.h. */
#define FDL_LOSSES(X) \
    X(squared)        \
    X(absolute)       \
    X(percentage)     \
    X(squared_log)    \
    X(huber)          \
    X(log_cosh)       \
    X(poisson)        \
    X(hinge)          \
    X(squared_hinge)  \
    X(binary)         \
    X(sigmoid)        \
    X(divergence)
#define FDL_ENUM(name) FDL_LOSS_##name,
enum { FDL_LOSSES(FDL_ENUM) FDL_LOSS_COUNT };
#undef FDL_ENUM

#include "table.h"

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

#define READS(name, what) const void *name;
#define MAYBE_READS(name, what) const void *name;
#define WRITES(name, what) void *name;
#define MAYBE_WRITES(name, what) void *name;
#define MAYBE_WRITES_EACH(name, count, what) void *name[count];
#define SIZE(name, what) size_t name;
#define SCALAR(name, what) double name;
#define SCALARS(name, count, what) double name[count];
#define FDL_STRUCT(name, arguments, what)                                                  \
    typedef struct {                                                                       \
        arguments                                                                          \
    } name##_args;                                                                         \
    _Static_assert(sizeof(name##_args) <= sizeof(fdl_args), "too many arguments: " #name);
FDL_KERNELS(FDL_STRUCT)
/* What several kernels' structs begin with. */
FDL_STRUCT(motion, FDL_MOTION_SETTINGS, "")
FDL_STRUCT(terminal, FDL_TERMINAL, "")
#undef FDL_STRUCT
#undef READS
#undef MAYBE_READS
#undef WRITES
#undef MAYBE_WRITES
#undef MAYBE_WRITES_EACH
#undef SIZE
#undef SCALAR
#undef SCALARS

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

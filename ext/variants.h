/* The variants that kernels know by number: optimizer rules, activations, noises, motions and losses.
 *
 * Each list is a macro that calls the macro X it is given once for each row. From it come the numbers below, the names that
 * Python reads (signature.h), and, beside the formulas, tables of functions in the order of the numbers: so a row and its
 * formula are all there is to add.
 */
#ifndef FDL_VARIANTS_H
#define FDL_VARIANTS_H
/* clang-format off: the lists keep their columns */

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
    X(ftrl, 2)                      \
    X(adafactor, 1)                 \
    X(lamb, 2)                      \
    X(schedule_free, 2)             \
    X(adam, 2)                      \
    X(amsgrad, 3)                   \
    X(adamax, 2)                    \
    X(nadam, 2)                     \
    X(lion, 1)
#define FDL_MAX_SLOTS 3
#define FDL_ENUM(name, slots) FDL_RULE_##name,
enum { FDL_RULES(FDL_ENUM) FDL_RULE_COUNT };
#undef FDL_ENUM

/* What the products of a dense layer are of: numbers as they are; or two of them rounded to bfloat16 in a word, by the CPU's
 * own instructions or by rounding, with the same bits. Sums are of the build's element type. */
enum { FDL_FLOATS, FDL_ROUNDED, FDL_NATIVE };

/* Which weights a norm is of. */
enum { FDL_NORM_COLUMNS, FDL_NORM_ROWS, FDL_NORM_ALL };

/* How long a step along a direction is: as given, or by Lamb's or Adafactor's norms of the weights and the direction. */
enum { FDL_LENGTH_GIVEN, FDL_LENGTH_LAMB, FDL_LENGTH_ADAFACTOR };

/* What dense and batch norm can do to their output at once. */
enum { FDL_LINEAR, FDL_RELU };

/* What an affine map's `spread` is: its scale; or a variance, and the scale is its root, or one over its root. */
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
    X(gelu_tanh, x)        \
    X(cos, x)              \
    X(sin, x)
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

/* Functions that formulas of one's own are made of: X(name, operands). They stand in kernels/formula.h. */
#define FDL_FUNCTIONS(X) \
    X(add, 2)            \
    X(subtract, 2)       \
    X(multiply, 2)       \
    X(divide, 2)         \
    X(maximum, 2)        \
    X(minimum, 2)        \
    X(power, 2)          \
    X(less, 2)           \
    X(less_equal, 2)     \
    X(equal, 2)          \
    X(where, 3)          \
    X(negative, 1)       \
    X(absolute, 1)       \
    X(sign, 1)           \
    X(square, 1)         \
    X(sqrt, 1)           \
    X(exp, 1)            \
    X(expm1, 1)          \
    X(log, 1)            \
    X(log1p, 1)          \
    X(tanh, 1)           \
    X(sigmoid, 1)        \
    X(softplus, 1)       \
    X(relu, 1)           \
    X(sin, 1)            \
    X(cos, 1)            \
    X(erf, 1)            \
    X(floor, 1)
#define FDL_ENUM(name, operands) FDL_FUNCTION_##name,
enum { FDL_FUNCTIONS(FDL_ENUM) FDL_FUNCTION_COUNT };
#undef FDL_ENUM
#define FDL_FORMULA_INPUTS 6
#define FDL_FORMULA_SLOTS 32

/* What `combine` makes of a list of features. */
enum { FDL_SUM_OF, FDL_PRODUCT_OF, FDL_LARGEST_OF, FDL_SMALLEST_OF };

/* Losses element by element: X(name). Their formulas stand in kernels/element_losses.h. */
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

#endif

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
#define FDL_MAX_POINTERS 12
#define FDL_MAX_SIZES 8
#define FDL_MAX_SCALARS 12
#define FDL_MAX_FEEDS 64   /* of rows outside a program: its inputs, targets, weights and outputs */
#define FDL_MAX_RATES 4
#define FDL_SEEDED ((size_t)1 << 48) /* random streams from here on are those of seeds */

/* What a kernel is called with; the slots are named at each kernel below. */
typedef struct {
    void *p[FDL_MAX_POINTERS];
    size_t n[FDL_MAX_SIZES];
    double s[FDL_MAX_SCALARS];
} fdl_args;

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

typedef void (*fdl_kernel)(const fdl_args *args, fdl_range range, const fdl_step *step, void *scratch);

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

/* X(name, pointers, sizes, scalars). B = batch, P = ceil(B / FDL_PANEL).
 *
 * Rows in and out
 *   gather            p: out (P, F, 32).  n: feed, F.  Copies and transposes the batch's rows of the feed (n, F).
 *   scatter           p: x (P, F, 32).    n: feed, F.  Writes the rows of the feed, row-major.
 * Dense: y = act(x W + b)
 *   dense_forward     p: x (P, K, 32), w (strips), b (N) or NULL, y (P, N, 32), y of the second half or NULL,
 *                     mean, scale, shift (N) or NULL.  n: K, N, FDL_LINEAR | FDL_RELU, block, middle.
 *                     With a scale, a batch norm follows: y = act((x W + b - mean) scale + shift).
 *                     Dot products are summed in blocks of `block`: the smaller, the more exact. Inputs [0, middle) and
 *                     [middle, K) are summed apart, then added. One half alone goes to y as it is, or to its own y.
 *   dense_finish      p: y (P, N, 32), y of the second half, b (N) or NULL.  n: N, FDL_LINEAR | FDL_RELU.
 *                     y = act(y + second half + b): what dense_forward leaves to do when threads shared it by halves.
 *   dense_input_grad  p: dy (P, N, 32), w (strips), dx (P, K, 32), output of the ReLU that gave
 *                     x, or NULL: then dx is the gradient before it.  n: K, N.  Features are those of x.
 *   dense_weight_grad p: x (P, K, 32), dy (P, N, 32), dw (strips), db (N) or NULL.
 *                     n: K, N, elements from one part's dw to the next one's, and db's.  Over the range's panels.
 *   sum_partials      p: partials (parts, size), out (size).  n: size, parts.  Features are elements.
 * Element by element
 *   activation_forward  p: x, y (P, F, 32).     n: F, activation.  s: its scalars.
 *   activation_backward p: y or x, dy, dx (P, F, 32).  n: F, activation.  s: its scalars.
 *   dropout_forward   p: x, y, mask (P, F, 32). n: F, stream.  s: rate.  mask is 0 or 1 / (1 - rate).
 *   dropout_backward  p: dy, mask, dx.          n: F.
 *   noise_forward     p: x, y (P, F, 32).       n: F, noise, stream.  s: its scalars.
 *   noise_backward    p: x (dy, if it reads none), dy, dx (P, F, 32).  n: F, noise, stream.  s: its scalars.
 *   motion_forward    p: x, y (P, H W C, 32).   n: H, W, C, motion, fill, whether the nearest pixel alone, stream.
 *                     s: the motion's four, fill value.  By panels.
 *   motion_backward   p: dy, dx.  n, s: as forward.
 *   mix_weights       p: w (P, 32).  n: stream.  s: alpha.  w from Beta(alpha, alpha).
 *   mix               p: x, y (P, F, 32), w (P, 32).  n: F, stream, back.  y = w x + (1 - w) partner's x; with back dx of
 *                     dy.  By features, not in place.
 *   affine            p: x, y (P, F, 32), center, spread, offset (count, or NULL).  s: least.
 *                     n: F, inner, count, FDL_SCALE | FDL_ROOT | FDL_INVERSE_ROOT.  y = (x - center) scale + offset.
 *   prelu_forward     p: x, alpha (F), y.       n: F.
 *   prelu_backward    p: x, dy, alpha, dx or NULL, dalpha or NULL.  n: F.  By features.
 * Where branches meet
 *   add               p: a, b (or NULL), y (P, F, 32).  n: F.  s: alpha, beta.  y = alpha a + beta b.
 *   multiply          p: a, b, y.               n: F.
 *   copy_features     p: x (P, F, 32), y (P, G, 32).  n: F, first of x, G, first of y.  Features are those copied.
 *   add_bias          p: x, b (F), y.           n: F.
 *   bias_grad         p: dy, db (F).            n: F.  By features.
 *   add_weights       p: part, total.           total += part.  Features are elements.
 * Batch normalization over the samples of each feature
 *   batch_norm_train  p: x, y (P, F, 32), gamma, beta (or NULL), moving mean, moving variance, mean, inv (F).
 *                     n: F, FDL_LINEAR | FDL_RELU.  s: momentum, epsilon.  inv = 1 / sqrt(variance + epsilon); variance is biased.
 *   batch_norm_infer  p: x, y, gamma, beta (or NULL), moving mean, moving variance.
 *                     n: F, FDL_LINEAR | FDL_RELU.  s: epsilon.
 *   batch_norm_scale  p: gamma (or NULL), moving variance, scale (F).  n: F.  s: epsilon.
 *   batch_norm_backward p: x, dy, dx (P, F, 32), gamma (or NULL), mean, inv, dgamma, dbeta (or NULL),
 *                     output of the ReLU behind, or NULL.  n: F.
 *   batch_norm_infer_backward p: dy, dx, gamma (or NULL), moving variance, output of the ReLU or NULL.
 *                     n: F.  s: epsilon.
 * Softmax over the features of each sample
 *   softmax_forward   p: x, y (P, F, 32).      n: F.
 *   softmax_backward  p: y, dy, dx (P, F, 32). n: F.
 *   log_softmax_forward  p: x, y (P, F, 32).      n: F.
 *   log_softmax_backward p: y, dy, dx (P, F, 32). n: F.
 * Layer normalization over the features of each sample
 *   layer_norm_forward     p: x, y (P, F, 32), gamma, beta (F, or NULL), mean, inv (P, 32, or NULL).
 *                          n: F.  s: epsilon.
 *   layer_norm_backward    p: x, dy, dx (P, F, 32), gamma (or NULL), mean, inv.  n: F.
 *   layer_norm_weight_grad p: x, dy, mean, inv, dgamma, dbeta (or NULL).         n: F.  By features.
 * Losses and metrics of one value a sample. p: x, dx (P, F, 32) or NULL, part (P), target (P, F, 32) or NULL, weight
 * (P, 32) or NULL, each (P, 32) or NULL.  n: F, feed of int32 labels (n) where target is NULL, number.  s: four.
 * `each` takes the values; part (double) each panel's sum of them, times the weights; dx the gradient of the sum over the
 * batch, divided by B. Targets are multiplied by s_2, and s_3 is added, where they may be smoothed.
 *   element_loss      sum over the features of the loss of that number, times s_0.  s_1: its own.
 *   softmax_cross_entropy      from logits x.  Targets sum to one, or weigh the sample.  Labels or targets.
 *   probability_cross_entropy  from positive x, taken in proportion.  Labels or targets.
 *   binary_focal      mean over the features; number: whether x are logits.  s_1: gamma, s_4, s_5: weight of ones, of zeros.
 *   categorical_focal s_0 times it; number: whether x are logits, else they are taken in proportion.  s_1: gamma.
 *   generalized_cross_entropy  (1 - x^q) / q of the label's x.  s_1: q.
 *   cosine_similarity s_0 times it.
 *   categorical_hinge
 *   accuracy          first largest entry of both.  Labels or targets.
 *   accuracy_top      whether the class is among the `number` largest.  Labels or targets.
 *   accuracy_binary   sum over the features, times s_0.  s_1: threshold.
 *   sum_parts         p: part (P), total (3), both double, weight (P, 32) or NULL.  total_0 += sum of part, total_1 += B,
 *                     or the sum of weights, total_2 += B.
 * Metrics that count. p: x, target (P, F, 32), weight (P, 32) or NULL, total (double), which they add to.
 *   count_above       total (2, k + 1), thresholds (k), ascending double.  n: F, k, only this feature if below F.
 *   count_classes     total (3, F).  n: F, whether there is a threshold.  s: threshold.
 *   sum_moments       total (4, F).  n: F.
 * Penalties l1 |x| + l2 x^2.  s: l1, l2
 *   weight_penalty    p: w (strips or vector), part (one double each FDL_UNIT features).  n: K, N.
 *   activity_penalty  p: x (P, F, 32), part (P, double).  n: F.  Over each panel's samples.
 *   activity_penalty_grad p: x, dx (P, F, 32).  n: F.  dx = slope / B.
 *   add_parts         p: part, total (1), double.  n: parts, whether they are the first: total = [total +] sum of part.
 * Constraints, after a step
 *   limit_norm        p: w (strips or vector).  n: K, N, FDL_NORM_COLUMNS | ROWS | ALL.  s: min, max, rate.
 *                     w *= (rate clip(norm, min, max) + (1 - rate) norm) / (norm + 1e-7).  Features are columns or rows.
 *   not_negative      p: w.  n: elements.  w = max(w, 0).  Features are elements.
 * Optimizer steps by the rule of that number. Slots that it does not keep are NULL; s: its four scalars, and, if `tame`,
 * how far an element of the gradient may be from zero; then the weight decay, and the l1 and l2 of a penalty whose slope
 * is added to the gradient first.
 *   optimizer_step    p: w, dw, slots (3), in strips, or vectors (K = 1), sum of squares or NULL.  n: K, rule, tame.
 *                     With a sum of squares (double) it is the norm that may be no larger.
 *   dense_weight_step p: x (P, K, 32), dy (P, N, 32), w, slots (strips), b, slots (N) or NULL.
 *                     n: K, N, rule, tame.  s: decay, l1, l2 of b as well.  dense_weight_grad and the step in one;
 *                     B <= FDL_CHUNK.  Features are those of x: a thread owns rows of W, as in dense_input_grad.
 *   sum_squares       p: dw, w (strips or vector) or NULL, part (one double each FDL_UNIT features).  n: K, N.  s: l1, l2.
 *   average_weights   p: w, average.  n: elements.  s: momentum, frequency.  average = momentum average +
 *                     (1 - momentum) w, each `frequency` steps (0: never) w = average.  Features are elements.
 */
#define FDL_KERNELS(X)                      \
    X(gather, 1, 2, 0)                      \
    X(scatter, 1, 2, 0)                     \
    X(dense_forward, 8, 5, 0)               \
    X(dense_finish, 3, 2, 0)                \
    X(dense_input_grad, 4, 2, 0)            \
    X(dense_weight_grad, 4, 4, 0)           \
    X(sum_partials, 2, 2, 0)                \
    X(activation_forward, 2, 2, 3)          \
    X(activation_backward, 3, 2, 3)         \
    X(dropout_forward, 3, 2, 1)             \
    X(dropout_backward, 3, 1, 0)            \
    X(noise_forward, 2, 3, 4)               \
    X(noise_backward, 3, 3, 4)              \
    X(motion_forward, 2, 7, 5)              \
    X(motion_backward, 2, 7, 5)             \
    X(mix_weights, 1, 1, 1)                 \
    X(mix, 3, 3, 0)                         \
    X(affine, 5, 4, 1)                      \
    X(prelu_forward, 3, 1, 0)               \
    X(prelu_backward, 5, 1, 0)              \
    X(add, 3, 1, 2)                         \
    X(multiply, 3, 1, 0)                    \
    X(copy_features, 2, 4, 0)               \
    X(add_bias, 3, 1, 0)                    \
    X(bias_grad, 2, 1, 0)                   \
    X(add_weights, 2, 0, 0)                 \
    X(batch_norm_train, 8, 2, 2)            \
    X(batch_norm_infer, 6, 2, 1)            \
    X(batch_norm_scale, 3, 1, 1)            \
    X(batch_norm_backward, 9, 1, 0)         \
    X(batch_norm_infer_backward, 5, 1, 1)   \
    X(softmax_forward, 2, 1, 0)             \
    X(softmax_backward, 3, 1, 0)            \
    X(log_softmax_forward, 2, 1, 0)         \
    X(log_softmax_backward, 3, 1, 0)        \
    X(layer_norm_forward, 6, 1, 1)          \
    X(layer_norm_backward, 6, 1, 0)         \
    X(layer_norm_weight_grad, 6, 1, 0)      \
    X(element_loss, 6, 3, 4)                \
    X(softmax_cross_entropy, 6, 3, 4)       \
    X(probability_cross_entropy, 6, 3, 4)   \
    X(binary_focal, 6, 3, 6)                \
    X(categorical_focal, 6, 3, 4)           \
    X(generalized_cross_entropy, 6, 3, 4)   \
    X(cosine_similarity, 6, 3, 4)           \
    X(categorical_hinge, 6, 3, 4)           \
    X(accuracy, 6, 3, 4)                    \
    X(accuracy_top, 6, 3, 4)                \
    X(accuracy_binary, 6, 3, 4)             \
    X(sum_parts, 3, 0, 0)                   \
    X(count_above, 5, 3, 0)                 \
    X(count_classes, 4, 2, 1)               \
    X(sum_moments, 4, 1, 0)                 \
    X(weight_penalty, 2, 2, 2)              \
    X(activity_penalty, 2, 1, 2)            \
    X(activity_penalty_grad, 2, 1, 2)       \
    X(add_parts, 2, 2, 0)                   \
    X(limit_norm, 1, 3, 3)                  \
    X(not_negative, 1, 1, 0)                \
    X(optimizer_step, 6, 3, 8)              \
    X(dense_weight_step, 10, 4, 11)         \
    X(sum_squares, 3, 2, 2)                 \
    X(average_weights, 2, 1, 2)

#define FDL_ENUM(name, pointers, sizes, scalars) FDL_K_##name,
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

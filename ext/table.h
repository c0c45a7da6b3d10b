/* The kernel table: what each kernel is called with, declared once.
 *
 * From this table come the structs that kernels read their arguments from (kernels.h), the checks of Python's emit, and
 * the text that fastdl.kernels.describe shows. A kernel is K(name, arguments, what it computes); an argument is one of
 *
 *   READS(name, what)  WRITES(name, what)   an array that is read, or written (and perhaps read before)
 *   MAYBE_READS  MAYBE_WRITES               the same, or NULL
 *   MAYBE_WRITES_EACH(name, count, what)    several of these; MAYBE_READS_EACH as well
 *   SIZE(name, what)                        a whole number
 *   MAYBE_SIZE(name, what)                  the same; 0 where it is left out
 *   SIZES(name, count, what)                several of these
 *   SCALAR(name, what)                      a double
 *   SCALARS(name, count, what)              several doubles
 *
 * `what` is the shape of an array, the meaning of a number. B = batch, P = ceil(B / FDL_PANEL); (P, F, 32) are panels, and
 * strips hold a weight matrix (see kernels.h). Arrays are of the build's element type unless it says double.
 *
 * Who expands the table defines two macros first, and undefines them after: FDL_ONE(kind, name, optional, what) and
 * FDL_SEVERAL(kind, name, count, optional, what), kind being READ, WRITTEN, SIZE or SCALAR.
 */
#ifndef FDL_TABLE_H
#define FDL_TABLE_H
/* clang-format off: the lists keep their columns */

#include "variants.h"

#define READS(name, what) FDL_ONE(READ, name, 0, what)
#define MAYBE_READS(name, what) FDL_ONE(READ, name, 1, what)
#define WRITES(name, what) FDL_ONE(WRITTEN, name, 0, what)
#define MAYBE_WRITES(name, what) FDL_ONE(WRITTEN, name, 1, what)
#define MAYBE_WRITES_EACH(name, count, what) FDL_SEVERAL(WRITTEN, name, count, 1, what)
#define MAYBE_READS_EACH(name, count, what) FDL_SEVERAL(READ, name, count, 1, what)
#define SIZE(name, what) FDL_ONE(SIZE, name, 0, what)
#define MAYBE_SIZE(name, what) FDL_ONE(SIZE, name, 1, what)
#define SIZES(name, count, what) FDL_SEVERAL(SIZE, name, count, 0, what)
#define SCALAR(name, what) FDL_ONE(SCALAR, name, 0, what)
#define SCALARS(name, count, what) FDL_SEVERAL(SCALAR, name, count, 0, what)

/* A random motion of an image (H, W, C). */
#define FDL_MOTION_SETTINGS                                                                        \
    SIZE(height, "H") SIZE(width, "W") SIZE(channels, "C") SIZE(motion, "number of FDL_MOTIONS")   \
    SIZE(fill, "FDL_FILL_CONSTANT, NEAREST, REFLECT or WRAP") SIZE(nearest, "1: the nearest pixel alone") \
    SIZE(stream, "of random numbers") SCALARS(own, 4, "the motion's") SCALAR(fill_value, "what stands outside")

/* A loss or metric of one value a sample. `each` takes the values; `part` each panel's sum of them, times the weights; `dx`
 * the gradient of the sum over the batch, divided by B. A loss that smooths its targets multiplies them by the first number
 * of `smoothing` and adds the second. */
#define FDL_TERMINAL                                                                               \
    READS(x, "(P, F, 32)") MAYBE_WRITES(dx, "(P, F, 32)") WRITES(part, "(P) double")                        \
    MAYBE_READS(target, "(P, F, 32), else labels are read") MAYBE_READS(weight, "(P, 32)") MAYBE_WRITES(each, "(P, 32)") \
    SIZE(features, "F") SIZE(feed, "number of the feed of int32 labels (n), where target is NULL") \
    SCALAR(scale, "times the value") SCALAR(own, "the kernel's own number") SCALARS(smoothing, 2, "of targets")

/* A metric that counts, or sums, feature by feature, and adds to `total`. */
#define FDL_COUNTER                                                                                \
    READS(x, "(P, F, 32)") READS(target, "(P, F, 32)") MAYBE_READS(weight, "(P, 32)") WRITES(total, "double") \
    SIZE(features, "F")

/* An optimizer's step. Where `prepare` is not 0, this comes before the rule, in Keras's order: the slope of the penalty is
 * added to the gradient, the gradient is limited, and the weights decay. */
#define FDL_RULE_SETTINGS                                                                          \
    SIZE(rule, "number of FDL_RULES") SIZE(prepare, "whether there is more than the rule")         \
    SCALARS(constants, 4, "the rule's") SCALAR(limit, "of an element of the gradient, or of its norm") \
    SCALAR(decay, "of w") SCALAR(l1, "of w's penalty") SCALAR(l2, "of w's penalty")                \
    SCALAR(rate_factor, "times w's step")

/* What a dense layer's products are of. */
#define FDL_PRODUCTS "FDL_FLOATS, FDL_ROUNDED or FDL_NATIVE"

/* Waves of numbers, cos(2 pi f x + phase), and sin of the same after them all if there are sines, and what W makes of them. */
#define FDL_PERIODIC                                                                               \
    READS(x, "(P, N, 32)") READS(frequencies, "(N, k) row by row, in cycles") MAYBE_READS(phases, "(N, k) row by row")    \
    READS(w, "(outputs, waves) row by row for each number, or one for all")                        \
    READS(b, "(outputs) for each number, or one for all") SIZE(inputs, "N") SIZE(count, "k") \
    SIZE(outputs, "of w") SIZE(sines, "whether there are") SIZE(keeps, "whether the number comes first: width is outputs + 1") \
    SIZE(shared, "whether w and b are one for all")

/* Pieces of lines, each between two values of a number. */
#define FDL_PIECES                                                                                 \
    READS(lower, "(F)") READS(scale, "(F)") READS(least, "(F)") READS(most, "(F)")                 \
    READS(first, "(N + 1) double: the first piece of each number, and F") SIZE(inputs, "N") SIZE(features, "F")

#define FDL_KERNELS(K)                                                                                                \
    /* Rows in and out */                                                                                             \
    K(gather, WRITES(out, "(P, F, 32)") SIZE(feed, "number of the feed") SIZE(features, "F"),                         \
      "copies and transposes the batch's rows of the feed (n, F)")                                                    \
    K(scatter, READS(x, "(P, F, 32)") SIZE(feed, "number of the feed") SIZE(features, "F"),                           \
      "writes the rows of the feed (n, F), row-major")                                                                \
    /* Dense layers */                                                                                                \
    K(dense_forward, READS(x, "(P, K, 32)") READS(w, "strips of (K, N)") MAYBE_READS(b, "(N)")                        \
      WRITES(y, "(P, N, 32)") MAYBE_WRITES(second, "(P, N, 32), for the sums of the second half")                     \
      MAYBE_READS(mean, "(N), with scale") MAYBE_READS(scale, "(N), of a batch norm that follows")                    \
      MAYBE_READS(shift, "(N)") SIZE(inputs, "K") SIZE(outputs, "N") SIZE(act, "FDL_LINEAR or FDL_RELU")              \
      SIZE(block, "inputs summed at once: the fewer, the more exact")                                                 \
      SIZE(middle, "inputs before it and from it on are summed apart, then added") MAYBE_SIZE(products, FDL_PRODUCTS)       \
      MAYBE_READS(pairs, "of x, see round_panels; where products are of words"),                                      \
      "y = act(x W + b), or act((x W + b - mean) scale + shift); half of the sum alone goes to y or second")          \
    K(dense_finish, WRITES(y, "(P, N, 32)") READS(second, "(P, N, 32)") MAYBE_READS(b, "(N)") SIZE(outputs, "N")      \
      SIZE(act, "FDL_LINEAR or FDL_RELU"),                                                                            \
      "y = act(y + second + b): what dense_forward leaves to do when threads shared it by halves")                    \
    K(dense_input_grad, READS(dy, "(P, N, 32)") READS(w, "strips of (K, N)") WRITES(dx, "(P, K, 32)")                 \
      MAYBE_READS(relu, "(P, K, 32), output of the ReLU that gave x") SIZE(inputs, "K") SIZE(outputs, "N")            \
      MAYBE_SIZE(products, FDL_PRODUCTS) MAYBE_READS(pairs, "of dy, see round_panels; where products are of words"),        \
      "dx = dy W^T, and on through that ReLU; features are those of x")                                               \
    K(dense_weight_grad, READS(x, "(P, K, 32), or where products are of words, rows: see round_panels")               \
      READS(dy, "(P, N, 32)") MAYBE_SIZE(products, FDL_PRODUCTS)                                                            \
      WRITES(dw, "strips of (K, N), for each part") MAYBE_WRITES(db, "(N), for each part") SIZE(inputs, "K")          \
      SIZE(outputs, "N") SIZE(dw_stride, "elements from one part's dw to the next one's")                             \
      SIZE(db_stride, "the same of db"), "dw = x^T dy, db = the sum of dy, over the range's panels")                  \
    K(sum_partials, READS(partials, "(parts, size)") WRITES(out, "(size)") SIZE(size, "elements")                     \
      SIZE(parts, "how many"), "out = the sum over the parts, in order; features are elements")                       \
    K(round_panels, READS(x, "(P, F, 32)") MAYBE_WRITES(pairs, "(P, ceil(F / 2), 32) words: two features of a sample") \
      MAYBE_WRITES(rows, "(P, F, 16) words: two samples of a feature, 0 beyond the batch") SIZE(features, "F")        \
      MAYBE_SIZE(products, FDL_PRODUCTS), "x rounded to bfloat16, two numbers in a word")                                   \
    /* Element by element */                                                                                          \
    K(activation_forward, READS(x, "(P, F, 32)") WRITES(y, "(P, F, 32)") SIZE(features, "F")                          \
      SIZE(activation, "number of FDL_ACTIVATIONS") SCALARS(own, FDL_ACTIVATION_SCALARS, "its scalars"),              \
      "y = act(x)")                                                                                                   \
    K(activation_backward, READS(saved, "(P, F, 32): y or x, as the activation reads") READS(dy, "(P, F, 32)")        \
      WRITES(dx, "(P, F, 32)") SIZE(features, "F") SIZE(activation, "number of FDL_ACTIVATIONS")                      \
      SCALARS(own, FDL_ACTIVATION_SCALARS, "its scalars"), "dx = dy act'(x)")                                         \
    K(dropout_forward, READS(x, "(P, F, 32)") WRITES(y, "(P, F, 32)")                                                 \
      WRITES(mask, "(P, F, 32): 0 or 1 / (1 - rate)") SIZE(features, "F") SIZE(stream, "of random numbers")           \
      SCALAR(rate, "share that is dropped"), "y = x mask")                                                            \
    K(dropout_backward, READS(dy, "(P, F, 32)") READS(mask, "(P, F, 32)") WRITES(dx, "(P, F, 32)")                    \
      SIZE(features, "F"), "dx = dy mask")                                                                            \
    K(noise_forward, SIZE(features, "F") SIZE(noise, "number of FDL_NOISES") SIZE(stream, "of random numbers")        \
      SCALARS(own, FDL_NOISE_SCALARS, "its scalars") READS(x, "(P, F, 32)") WRITES(y, "(P, F, 32)"),                  \
      "y = x with noise")                                                                                             \
    K(noise_backward, SIZE(features, "F") SIZE(noise, "number of FDL_NOISES") SIZE(stream, "of random numbers")       \
      SCALARS(own, FDL_NOISE_SCALARS, "its scalars") READS(saved, "(P, F, 32): x, or dy where it reads none")         \
      READS(dy, "(P, F, 32)") WRITES(dx, "(P, F, 32)"), "dx, with the same noise")                                    \
    K(motion_forward, FDL_MOTION_SETTINGS READS(x, "(P, H W C, 32)") WRITES(y, "(P, H W C, 32)"),                     \
      "each sample's image moved at random; by panels")                                                               \
    K(motion_backward, FDL_MOTION_SETTINGS READS(dy, "(P, H W C, 32)") WRITES(dx, "(P, H W C, 32)"),                  \
      "the gradient of motion_forward; by panels")                                                                    \
    K(mix_weights, WRITES(weight, "(P, 32)") SIZE(stream, "of random numbers")                                        \
      SCALAR(alpha, "of Beta(alpha, alpha)"), "weight drawn from Beta(alpha, alpha)")                                 \
    K(mix, READS(x, "(P, F, 32)") WRITES(y, "(P, F, 32)") READS(weight, "(P, 32)") SIZE(features, "F")                \
      SIZE(stream, "of random numbers") SIZE(back, "1: dx of dy"),                                                    \
      "y = weight x + (1 - weight) partner's x; by features, not in place")                                           \
    K(affine, READS(x, "(P, F, 32)") WRITES(y, "(P, F, 32)") MAYBE_READS(center, "(count)")                           \
      MAYBE_READS(spread, "(count)") MAYBE_READS(offset, "(count)") SIZE(features, "F")                               \
      SIZE(inner, "elements that share a number") SIZE(count, "numbers")                                              \
      SIZE(spread_is, "FDL_SCALE, FDL_ROOT or FDL_INVERSE_ROOT") SCALAR(least, "of a root"),                          \
      "y = (x - center) scale + offset")                                                                              \
    K(prelu_forward, READS(x, "(P, F, 32)") READS(alpha, "(F)") WRITES(y, "(P, F, 32)") SIZE(features, "F"),          \
      "y = x, below zero alpha x")                                                                                    \
    K(prelu_backward, READS(x, "(P, F, 32)") READS(dy, "(P, F, 32)") READS(alpha, "(F)")                              \
      MAYBE_WRITES(dx, "(P, F, 32)") MAYBE_WRITES(dalpha, "(F)") SIZE(features, "F"), "by features")                  \
    K(scale_backward, READS(x, "(P, F, 32)") READS(dy, "(P, F, 32)") READS(scale, "(F)")                              \
      MAYBE_WRITES(dx, "(P, F, 32)") MAYBE_WRITES(dscale, "(F)") SIZE(features, "F"), "of y = x scale; by features")  \
    K(parametric_activation_forward, READS(x, "(P, F, 32)") READS(alpha, "(F)") WRITES(y, "(P, F, 32)")               \
      MAYBE_WRITES(plain, "(P, F, 32), for act(x)") SIZE(features, "F") SIZE(activation, "number of FDL_ACTIVATIONS") \
      SCALARS(own, FDL_ACTIVATION_SCALARS, "its scalars"), "y = (1 - alpha) x + alpha act(x)")                        \
    K(parametric_activation_backward, READS(x, "(P, F, 32)") READS(plain, "(P, F, 32), act(x)")                       \
      READS(saved, "(P, F, 32): x or plain, as the activation reads") READS(dy, "(P, F, 32)") READS(alpha, "(F)")     \
      MAYBE_WRITES(dx, "(P, F, 32)") MAYBE_WRITES(dalpha, "(F)") SIZE(features, "F")                                  \
      SIZE(activation, "number of FDL_ACTIVATIONS") SCALARS(own, FDL_ACTIVATION_SCALARS, "its scalars"),              \
      "by features")                                                                                                  \
    /* Formulas of one's own, and what they need besides (see formula.h) */                                           \
    K(formula, MAYBE_READS_EACH(inputs, FDL_FORMULA_INPUTS, "(P, width, 32)")                                         \
      MAYBE_READS_EACH(maps, FDL_FORMULA_INPUTS, "(F) int32: which feature each of y reads, where they differ")       \
      READS(constants, "(constant_count) double") READS(code, "(count, 5) int32: function, slot of the result, operands") \
      WRITES(y, "(P, F, 32): the last instruction's result") SIZES(widths, FDL_FORMULA_INPUTS, "of the inputs")       \
      SIZE(input_count, "inputs") SIZE(constant_count, "constants") SIZE(slots, "all of them") SIZE(count, "instructions") \
      SIZE(features, "F"), "y = a formula of the inputs, element by element")                                         \
    K(combine, READS(x, "(P, N, 32)") READS(starts, "(F + 1) int32") READS(index, "int32, features of x")             \
      WRITES(y, "(P, F, 32)") SIZE(inputs, "N") SIZE(features, "F")                                                   \
      SIZE(how, "FDL_SUM_OF, FDL_PRODUCT_OF, FDL_LARGEST_OF or FDL_SMALLEST_OF") SCALAR(scale, "times that"),         \
      "each feature of y from a list of features of x; of an empty one, 0")                                           \
    K(over_samples, READS(x, "(P, F, 32)") WRITES(y, "(P, F, 32)") SIZE(features, "F") SCALAR(scale, "times the sum"), \
      "y = scale times the sum of x over the samples, for each of them; by features")                                 \
    K(product_of_samples, READS(a, "(P, a_features, 32)") READS(b, "(P, b_features, 32)")                             \
      WRITES(c, "(P, groups rows columns, 32)") SIZE(groups, "of matrices") SIZE(rows, "of c") SIZE(inner, "of both") \
      SIZE(columns, "of c") SIZE(a_features, "of a") SIZE(b_features, "of b") SIZE(a_group, "features from one to the next") \
      SIZE(a_row, "the same") SIZE(a_inner, "the same") SIZE(b_group, "the same") SIZE(b_inner, "the same")           \
      SIZE(b_column, "the same"), "each sample's c = a b; by panels")                                                 \
    K(weight_values, READS(w, "strips of (K, N), or row by row") WRITES(y, "(P, K N, 32)") SIZE(inputs, "K")          \
      SIZE(outputs, "N") SIZE(strips, "whether w lies in strips"), "y = w's elements, row by row, for each sample")   \
    K(weight_values_grad, READS(dy, "(P, K N, 32)") WRITES(dw, "as w") SIZE(inputs, "K") SIZE(outputs, "N")           \
      SIZE(strips, "whether w lies in strips"), "dw = the sum of dy over the samples; once")                          \
    /* Encodings of a table's columns */                                                                              \
    K(embedding_forward, READS(x, "(P, C, 32), codes") READS(table, "(rows, D), row by row")                          \
      READS(columns, "(2, C) double: the first row of each column's own table, and how many it has")                  \
      WRITES(y, "(P, C D, 32)") SIZE(inputs, "C") SIZE(width, "D") SIZE(zero_missing, "whether code 0 gives zeros"),  \
      "y = each code's row; zeros for a code that its table does not have; features are those of y")                  \
    K(embedding_backward, READS(x, "(P, C, 32), codes") READS(dy, "(P, C D, 32)")                                     \
      READS(columns, "(2, C) double, as forward") WRITES(dtable, "(rows, D), row by row") SIZE(inputs, "C")           \
      SIZE(width, "D") SIZE(zero_missing, "as forward"),                                                              \
      "dtable = the sum of dy over the samples of each row's code; features are elements of the table")               \
    K(embedding_step, FDL_RULE_SETTINGS READS(x, "(P, C, 32), codes") READS(dy, "(P, C D, 32)")                       \
      WRITES(table, "(rows, D), row by row") MAYBE_WRITES_EACH(slots, FDL_MAX_SLOTS, "as table, those that the rule keeps") \
      WRITES(sums, "(P, C, 32, D), room for gradients") WRITES(seen, "(rows), zeros before and after")                \
      READS(columns, "(2, C) double: each column's first row, and how many it has") SIZE(inputs, "C")                 \
      SIZE(width, "D") SIZE(zero_missing, "whether code 0 has no row"),                                               \
      "embedding_backward and the step in one, of the rows that the batch reads, and no others; features are rows")   \
    K(periodic_forward, FDL_PERIODIC WRITES(y, "(P, N width, 32)"),                            \
      "of each number: [itself,] W (its waves) + b; features are FDL_UNIT for each number")                           \
    K(periodic_backward, FDL_PERIODIC READS(dy, "(P, N width, 32)")                            \
      MAYBE_WRITES(dx, "(P, N, 32)") WRITES(dfrequencies, "(N, k)") MAYBE_WRITES(dphases, "(N, k)")                   \
      WRITES(dw, "as w, one for each number") WRITES(db, "as b, one for each number")                                \
      SIZE(dw_step, "elements from one number's dw to the next one's") SIZE(db_step, "the same of db"), \
      "of periodic_forward; by features, as there")                                                                   \
    K(piecewise_linear_forward, READS(x, "(P, N, 32)") FDL_PIECES WRITES(y, "(P, F, 32)"),                            \
      "y = clamp((x - lower) scale, least, most) of its number; features are those of y")                             \
    K(piecewise_linear_backward, READS(x, "(P, N, 32)") FDL_PIECES READS(dy, "(P, F, 32)") WRITES(dx, "(P, N, 32)"),  \
      "dx of piecewise_linear_forward; features are those of x")                                                      \
    /* Where branches meet */                                                                                         \
    K(add, READS(first, "(P, F, 32)") MAYBE_READS(second, "(P, F, 32)") WRITES(y, "(P, F, 32)") SIZE(features, "F")   \
      SCALAR(alpha, "of first") SCALAR(beta, "of second"), "y = alpha first + beta second")                           \
    K(multiply, READS(first, "(P, F, 32)") READS(second, "(P, F, 32)") WRITES(y, "(P, F, 32)") SIZE(features, "F"),   \
      "y = first second")                                                                                             \
    K(copy_features, READS(x, "(P, F, 32)") WRITES(y, "(P, G, 32)") SIZE(x_features, "F")                             \
      SIZE(x_first, "first feature that is copied") SIZE(y_features, "G") SIZE(y_first, "where it goes"),             \
      "features are those copied")                                                                                    \
    K(add_bias, READS(x, "(P, F, 32)") READS(b, "(F)") WRITES(y, "(P, F, 32)") SIZE(features, "F"), "y = x + b")      \
    K(bias_grad, READS(dy, "(P, F, 32)") WRITES(db, "(F)") SIZE(features, "F"),                                       \
      "db = the sum of dy over the samples; by features")                                                             \
    K(add_weights, READS(part, "(size)") WRITES(total, "(size)"), "total += part; features are elements")             \
    /* Samples of several members (see kernels.h): M of them, F features each */                                      \
    K(repeat_members, READS(x, "(P, F, 32)") WRITES(y, "(P, M F, 32)") SIZE(features, "F") SIZE(count, "M")           \
      SCALAR(scale, "of x"), "y = scale x for each member; features are those of x")                                  \
    K(sum_members, READS(x, "(P, M F, 32)") WRITES(y, "(P, F, 32)") SIZE(features, "F") SIZE(count, "M")              \
      SCALAR(scale, "of the sum"), "y = scale times the sum of x over the members; features are those of y")          \
    K(sum_products, READS(x, "(P, F, 32)") READS(dy, "(P, F, 32)") WRITES(out, "(F)") SIZE(features, "F"),            \
      "out = the sum of x dy over the samples; by features")                                                          \
    K(member_dense_forward, READS(x, "(P, M K, 32)") READS(w, "strips of (M K, N)") MAYBE_READS(b, "(M N)")           \
      WRITES(y, "(P, M N, 32)") SIZE(count, "M") SIZE(inputs, "K") SIZE(outputs, "N")                                 \
      SIZE(block, "inputs summed at once"), "y = x W + b, with each member's W and b; features are those of y")       \
    K(member_dense_input_grad, READS(dy, "(P, M N, 32)") READS(w, "strips of (M K, N)")                               \
      WRITES(dx, "(P, M K, 32)") SIZE(count, "M") SIZE(inputs, "K") SIZE(outputs, "N"),                               \
      "dx = dy W^T, with each member's W; features are those of dx")                                                  \
    K(member_dense_weight_grad, READS(x, "(P, M K, 32)") READS(dy, "(P, M N, 32)")                                    \
      WRITES(dw, "strips of (M K, N)") SIZE(count, "M") SIZE(inputs, "K") SIZE(outputs, "N"),                         \
      "dw = x^T dy of each member; features are rows of dw: all panels, a thread has rows")                           \
    /* Batch normalization over the samples of each feature; variances are biased */                                  \
    K(batch_norm_train, READS(x, "(P, F, 32)") WRITES(y, "(P, F, 32)") MAYBE_READS(gamma, "(F)")                      \
      MAYBE_READS(beta, "(F)") MAYBE_WRITES(moving_mean, "(F)")                                                       \
      MAYBE_WRITES(moving_variance, "(F), with moving_mean") WRITES(mean, "(F)")                                      \
      WRITES(inv, "(F): 1 / sqrt(variance + epsilon)") SIZE(features, "F") SIZE(act, "FDL_LINEAR or FDL_RELU")        \
      SCALAR(momentum, "of the moving averages") SCALAR(epsilon, "added to the variance"),                            \
      "y = act((x - mean) inv gamma + beta)")                                                                         \
    K(batch_norm_infer, READS(x, "(P, F, 32)") WRITES(y, "(P, F, 32)") MAYBE_READS(gamma, "(F)")                      \
      MAYBE_READS(beta, "(F)") READS(moving_mean, "(F)") READS(moving_variance, "(F)") SIZE(features, "F")            \
      SIZE(act, "FDL_LINEAR or FDL_RELU") SCALAR(epsilon, "added to the variance"),                                   \
      "the same by the moving averages")                                                                              \
    K(move_average, READS(value, "(P, F, 32), the same for all samples") WRITES(average, "(F)")                         \
      MAYBE_WRITES(square, "(F): average^2 - epsilon") SIZE(features, "F") SCALAR(momentum, "of the average")         \
      SCALAR(epsilon, "of square"), "average = momentum average + (1 - momentum) value")                              \
    K(batch_norm_scale, MAYBE_READS(gamma, "(F)") READS(moving_variance, "(F)") WRITES(scale, "(F)")                  \
      SIZE(features, "F") SCALAR(epsilon, "added to the variance"),                                                   \
      "scale = gamma / sqrt(moving_variance + epsilon)")                                                              \
    K(batch_norm_backward, READS(x, "(P, F, 32)") READS(dy, "(P, F, 32)") MAYBE_WRITES(dx, "(P, F, 32)")              \
      MAYBE_READS(gamma, "(F)") READS(mean, "(F)") READS(inv, "(F)") MAYBE_WRITES(dgamma, "(F)")                      \
      MAYBE_WRITES(dbeta, "(F)") MAYBE_READS(relu, "(P, F, 32), output of the ReLU behind") SIZE(features, "F"),      \
      "of batch_norm_train")                                                                                          \
    K(batch_norm_infer_backward, READS(dy, "(P, F, 32)") WRITES(dx, "(P, F, 32)") MAYBE_READS(gamma, "(F)")           \
      READS(moving_variance, "(F)") MAYBE_READS(relu, "(P, F, 32), output of the ReLU behind") SIZE(features, "F")    \
      SCALAR(epsilon, "added to the variance"), "of batch_norm_infer")                                                \
    /* Over the features of each sample */                                                                            \
    K(softmax_forward, READS(x, "(P, F, 32)") WRITES(y, "(P, F, 32)") SIZE(features, "F"), "y = softmax x")           \
    K(softmax_backward, READS(y, "(P, F, 32)") READS(dy, "(P, F, 32)") WRITES(dx, "(P, F, 32)") SIZE(features, "F"),  \
      "from the output y")                                                                                            \
    K(log_softmax_forward, READS(x, "(P, F, 32)") WRITES(y, "(P, F, 32)") SIZE(features, "F"), "y = log softmax x")   \
    K(log_softmax_backward, READS(y, "(P, F, 32)") READS(dy, "(P, F, 32)") WRITES(dx, "(P, F, 32)")                   \
      SIZE(features, "F"), "from the output y")                                                                       \
    K(layer_norm_forward, READS(x, "(P, F, 32)") WRITES(y, "(P, F, 32)") MAYBE_READS(gamma, "(F)")                    \
      MAYBE_READS(beta, "(F)") MAYBE_WRITES(mean, "(P, 32)") MAYBE_WRITES(inv, "(P, 32), with mean")                  \
      SIZE(features, "F") SCALAR(epsilon, "added to the variance"), "y = (x - mean) inv gamma + beta")                \
    K(layer_norm_backward, READS(x, "(P, F, 32)") READS(dy, "(P, F, 32)") WRITES(dx, "(P, F, 32)")                    \
      MAYBE_READS(gamma, "(F)") READS(mean, "(P, 32)") READS(inv, "(P, 32)") SIZE(features, "F"),                     \
      "dx of layer_norm_forward")                                                                                     \
    K(layer_norm_weight_grad, READS(x, "(P, F, 32)") READS(dy, "(P, F, 32)") READS(mean, "(P, 32)")                   \
      READS(inv, "(P, 32)") MAYBE_WRITES(dgamma, "(F)") MAYBE_WRITES(dbeta, "(F)") SIZE(features, "F"),               \
      "by features")                                                                                                  \
    /* Losses and metrics of one value a sample (see FDL_TERMINAL) */                                                 \
    K(element_loss, FDL_TERMINAL SIZE(loss, "number of FDL_LOSSES"),                                                  \
      "sum over the features of that loss, times scale; own: its own number")                                         \
    K(values, FDL_TERMINAL, "the sum of the features, times scale: what a formula of one's own gave; no target")      \
    K(softmax_cross_entropy, FDL_TERMINAL,                                                                            \
      "from logits x; targets sum to one, or weigh the sample; labels or targets")                                    \
    K(probability_cross_entropy, FDL_TERMINAL, "from positive x, taken in proportion; labels or targets")             \
    K(binary_focal, FDL_TERMINAL SIZE(logits, "whether x are logits") SCALARS(weights, 2, "of ones, of zeros"),       \
      "mean over the features; own: gamma")                                                                           \
    K(categorical_focal, FDL_TERMINAL SIZE(logits, "whether x are logits, else taken in proportion"),                 \
      "scale times it; own: gamma")                                                                                   \
    K(generalized_cross_entropy, FDL_TERMINAL, "(1 - x^q) / q of the label's x; own: q")                              \
    K(cosine_similarity, FDL_TERMINAL, "scale times the cosine of the angle between x and target")                    \
    K(categorical_hinge, FDL_TERMINAL, "max(1 + the largest of (1 - target) x - the sum of target x, 0)")             \
    K(accuracy, FDL_TERMINAL, "whether the first largest entry is the same; labels or targets")                       \
    K(accuracy_top, FDL_TERMINAL SIZE(k, "how many"), "whether the class is among the k largest; labels or targets")  \
    K(accuracy_binary, FDL_TERMINAL, "scale times the sum of features on the target's side; own: threshold")          \
    K(sum_parts, READS(part, "(P) double") WRITES(total, "(3) double") MAYBE_READS(weight, "(P, 32)"),                \
      "total += sum of part; B, or the sum of weight; B")                                                             \
    /* Metrics that count (see FDL_COUNTER) */                                                                        \
    K(count_above, FDL_COUNTER READS(thresholds, "(k) double, ascending") SIZE(count, "k")                            \
      SIZE(only, "this feature alone, if below F"),                                                                   \
      "total (2, k + 1): negatives and positives that lie above exactly so many thresholds")                          \
    K(count_classes, FDL_COUNTER SIZE(by_threshold, "whether there is one")                                           \
      SCALAR(threshold, "above it, or the largest, is said to be"),                                                   \
      "total (3, F): true positives, false positives, false negatives")                                               \
    K(sum_moments, FDL_COUNTER, "total (4, F): sums of t, t^2, (x - t)^2 and of weights")                             \
    /* Penalties l1 |x| + l2 x^2 */                                                                                   \
    K(weight_penalty, READS(w, "strips or vector") WRITES(part, "one double each FDL_UNIT features")                  \
      SIZE(inputs, "K") SIZE(outputs, "N") SCALAR(l1, "of the sum of |x|") SCALAR(l2, "of the sum of x^2"),           \
      "part = the penalty of each unit of columns")                                                                   \
    K(activity_penalty, READS(x, "(P, F, 32)") WRITES(part, "(P) double") SIZE(features, "F")                         \
      SCALAR(l1, "of the sum of |x|") SCALAR(l2, "of the sum of x^2"), "part = the penalty of each panel's samples")  \
    K(activity_penalty_grad, READS(x, "(P, F, 32)") WRITES(dx, "(P, F, 32)") SIZE(features, "F")                      \
      SCALAR(l1, "of the sum of |x|") SCALAR(l2, "of the sum of x^2"), "dx = slope / B")                              \
    K(add_parts, READS(part, "(parts) double") WRITES(total, "(1) double") SIZE(parts, "how many")                    \
      SIZE(first, "whether total begins with them"), "total = [total +] the sum of part")                             \
    /* Constraints, after a step */                                                                                   \
    K(limit_norm, WRITES(w, "strips or vector") SIZE(inputs, "K") SIZE(outputs, "N")                                  \
      SIZE(by_rows, "whether w lies row by row, not in strips")                                                       \
      SIZE(norm_of, "FDL_NORM_COLUMNS, FDL_NORM_ROWS or FDL_NORM_ALL") SCALAR(least, "norm") SCALAR(most, "norm")     \
      SCALAR(rate, "how much of the way"),                                                                            \
      "w *= (rate clip(norm, least, most) + (1 - rate) norm) / (norm + 1e-7); features are columns or rows")          \
    K(not_negative, WRITES(w, "any layout"), "w = max(w, 0); features are elements")                                  \
    /* Optimizer steps by a rule of FDL_RULES (see FDL_RULE_SETTINGS) */                                              \
    K(optimizer_step, FDL_RULE_SETTINGS SIZE(inputs, "K, 1 for a vector") WRITES(w, "strips or vector")               \
      READS(dw, "as w") MAYBE_WRITES_EACH(slots, FDL_MAX_SLOTS, "as w, those that the rule keeps")                    \
      MAYBE_READS(squares, "(1) double: the norm may be no larger than limit"), "features are columns")               \
    K(dense_weight_step, FDL_RULE_SETTINGS SIZE(inputs, "K") SIZE(outputs, "N") MAYBE_SIZE(products, FDL_PRODUCTS)          \
      READS(x, "(P, K, 32), or where products are of words, rows: see round_panels") READS(dy, "(P, N, 32)")          \
      WRITES(w, "strips of (K, N)")                                                                                   \
      MAYBE_WRITES_EACH(slots, FDL_MAX_SLOTS, "as w, those that the rule keeps") MAYBE_WRITES(b, "(N)")               \
      MAYBE_WRITES_EACH(b_slots, FDL_MAX_SLOTS, "as b") SCALAR(b_decay, "of b") SCALAR(b_l1, "of b")                  \
      SCALAR(b_l2, "of b") SCALAR(b_rate_factor, "times b's step"),                                                                                           \
      "dense_weight_grad and the step in one, B <= FDL_CHUNK; features are those of x: a thread owns rows of W")      \
    K(sum_squares, READS(dw, "strips or vector") MAYBE_READS(w, "as dw")                                              \
      WRITES(part, "one double each FDL_UNIT features") SIZE(inputs, "K") SIZE(outputs, "N")                          \
      SCALAR(l1, "of the sum of |x|") SCALAR(l2, "of the sum of x^2"),                                                \
      "part = sum of squares of dw, with the penalty's slope added")                                                  \
    K(average_weights, WRITES(w, "any layout") WRITES(average, "as w") SCALAR(momentum, "of the average")             \
      SCALAR(frequency, "steps after which w = average; 0: never") SIZE(batches, "whose gradients a step is of"),     \
      "average = momentum average + (1 - momentum) w; features are elements")                                         \
    K(accumulate_gradient, WRITES(dw, "any layout") WRITES(sum, "as dw") SIZE(batches, "N"),                          \
      "sum += dw; each N-th time dw = sum / N, and sum = 0; features are elements")                                   \
    /* Steps along a direction that is found for a whole parameter: Lamb's, Adafactor's, Muon's */                    \
    K(prepare_gradient, WRITES(w, "strips or vector") WRITES(dw, "as w") SIZE(inputs, "K, 1 for a vector")            \
      MAYBE_READS(squares, "(1) double: the norm may be no larger than limit") SCALAR(limit, "of dw, or its norm")    \
      SCALAR(decay, "of w") SCALAR(l1, "of w's penalty") SCALAR(l2, "of w's penalty"),                                \
      "what comes before a rule, see FDL_RULE_SETTINGS; features are columns")                                        \
    K(find_direction, READS(w, "strips or vector") WRITES(dw, "as w") SIZE(rule, "number of FDL_RULES")               \
      MAYBE_WRITES_EACH(slots, FDL_MAX_SLOTS, "as w, those that the rule keeps") SCALARS(constants, 4, "the rule's")  \
      WRITES(part, "two doubles each FDL_UNIT features") SIZE(inputs, "K, 1 for a vector") SIZE(outputs, "N"),        \
      "dw = how the rule moves a zero, at the rate -1; part = sums of squares of w and of dw; features are columns")  \
    K(adafactor_means, READS(dw, "strips or row by row") WRITES(mean, "(K), or (N)") SIZE(inputs, "K")                \
      SIZE(outputs, "N") SIZE(by_rows, "whether dw lies row by row") SIZE(of_rows, "1: features are rows, else columns") \
      SCALAR(least, "that is added to squares"),                                                                      \
      "mean goes on to that of dw's squares in each row, or column, by the share that is the fourth rate")            \
    K(adafactor_direction, READS(w, "strips or row by row") WRITES(dw, "as w") READS(rows, "(K)") READS(columns, "(N)") \
      WRITES(part, "two doubles each FDL_UNIT features") SIZE(inputs, "K") SIZE(outputs, "N")                         \
      SIZE(by_rows, "whether w lies row by row"),                                                                     \
      "dw /= sqrt(rows columns / the mean of rows); part as in find_direction; features are columns")                 \
    K(step_along, WRITES(w, "strips or vector") READS(dw, "as w: a direction") MAYBE_READS(part, "of the direction")  \
      SIZE(inputs, "K, 1 for a vector") SIZE(outputs, "N") SIZE(parts, "how many pairs")                              \
      SIZE(length, "FDL_LENGTH_GIVEN, LAMB or ADAFACTOR") SCALARS(own, 2, "the length's") SCALAR(rate_factor, "times w's step"), \
      "w -= the second rate, times the length, times dw; features are columns")                                       \
    K(transpose_strips, READS(x, "strips of (K, N)") WRITES(y, "strips of (N, K)") SIZE(inputs, "K")                  \
      SIZE(outputs, "N"), "y = x^T; features are rows of x")                                                          \
    K(multiply_strips, READS(a, "strips of (M, K)") READS(b, "strips of (K, N)") MAYBE_READS(c, "strips of (M, N)")   \
      WRITES(y, "as c") SIZE(rows, "M") SIZE(inputs, "K") SCALAR(alpha, "of c") SCALAR(beta, "of the product"),       \
      "y = alpha c + beta a b; features are columns of y")

#endif

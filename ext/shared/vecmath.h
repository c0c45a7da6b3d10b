/* exp, expm1, log, log1p, tanh, sigmoid, sine and cosine on vectors, and the normal distribution's tail. The first six are
 * right to about 2 ulp; sine and cosine of any argument stand at the end.
 *
 * exp: x = n ln2 + r with |r| <= ln2 / 2, exp(x) = 2^n (1 + p(r)), p the Taylor series of expm1, which at
 * that radius needs 7 terms for float32 and 13 for float64. log: x = 2^n m with m in [sqrt(1/2), sqrt(2)),
 * log m = 2 atanh((m - 1) / (m + 1)) by its odd series. The splitting of ln2 in two parts is Cody and Waite's
 * (Software Manual for the Elementary Functions, 1980). NaN in, NaN out.
 */
#ifndef FDL_SHARED_VECMATH_H
#define FDL_SHARED_VECMATH_H

#include "vec.h"

#if FDL_IS_F32
#define FDL_MANTISSA 23
#define FDL_BIAS 127
#define FDL_EXP_LOW -104.0f
#define FDL_EXP_HIGH 89.0f
#define FDL_TANH_HIGH 10.0f
#define FDL_MAGIC 12582912.0f /* 1.5 * 2^23: adding it rounds to an integer held in the low bits */
#define FDL_LN2_HIGH 0.693359375f
#define FDL_LN2_LOW -2.12194440e-4f
#define FDL_EXP_TERMS 7
#define FDL_LOG_TERMS 5
#define FDL_SMALLEST 1.17549435e-38f
#define FDL_TAIL_END 14.4f
#define FDL_TAIL_CENTRE 4.0f
#define FDL_TAIL_SERIES                                                                                        \
    {0.2832319239f, -0.1335505989f, 0.06918944052f, -0.02155354207f, -0.0006663603787f, 0.004722304675f,       \
     -0.002248852949f, 0.0001742169349f, 0.0002586370844f, -6.101054509e-5f, -3.341842941e-5f}
#else
#define FDL_MANTISSA 52
#define FDL_BIAS 1023
#define FDL_EXP_LOW -746.0
#define FDL_EXP_HIGH 710.0
#define FDL_TANH_HIGH 20.0
#define FDL_MAGIC 6755399441055744.0 /* 1.5 * 2^52 */
#define FDL_LN2_HIGH 6.93147180369123816490e-01
#define FDL_LN2_LOW 1.90821492927058770002e-10
#define FDL_EXP_TERMS 13
#define FDL_LOG_TERMS 11
#define FDL_SMALLEST 2.2250738585072014e-308
#define FDL_TAIL_END 38.6
#define FDL_TAIL_CENTRE 6.0
#define FDL_TAIL_SERIES                                                                                        \
    {0.259117257297787397, -0.104111047881394842, 0.0728214590064502363, -0.0431397132893965241,               \
     0.0203408176512898942, -0.00623103638132975277, -0.000389400121158728165, 0.00220021411073603497,         \
     -0.00182094570375440955, 0.000961101687285579953, -0.000344310867319561558, 0.0000659318964900418805,     \
     8.64276660684755777e-6, -0.0000104337655619077624, 2.44460708982856917e-6, 5.33468277342100174e-7,        \
     -4.42869256711850724e-7, 3.10005949451794469e-8, 5.38908936680843339e-8, -1.24361191771299635e-8,         \
     -6.26601099306882357e-9, 1.69849402912032133e-9, 7.15458302748855807e-10}
#endif

/* 2^n for integer n within the exponent's range. */
INLINE V power_of_two(VI n) { return (V)((n + FDL_BIAS) << FDL_MANTISSA); }

/* r of x = n ln2 + r, n in *n. x must lie in [FDL_EXP_LOW, FDL_EXP_HIGH]. */
INLINE V exp_reduce(V x, VI *n) {
    const V magic = splat(FDL_MAGIC);
    V rounded = x * (T)1.44269504088896340736 + magic;
    *n = (VI)rounded - (VI)magic;
    rounded -= magic;
    V r = x - rounded * (T)FDL_LN2_HIGH;
    return r - rounded * (T)FDL_LN2_LOW;
}

/* expm1 of a reduced argument. */
INLINE V expm1_series(V r) {
    static const T inverse_factorial[14] = {
        1.0, 1.0, 1.0 / 2, 1.0 / 6, 1.0 / 24, 1.0 / 120, 1.0 / 720, 1.0 / 5040, 1.0 / 40320, 1.0 / 362880,
        1.0 / 3628800, 1.0 / 39916800, 1.0 / 479001600, 1.0 / 6227020800};
    V p = splat(inverse_factorial[FDL_EXP_TERMS]);
    for (int i = FDL_EXP_TERMS - 1; i >= 2; i--) p = p * r + inverse_factorial[i];
    return p * (r * r) + r;
}

/* v 2^n in two steps: 2^n alone leaves the exponent's range near both ends. */
INLINE V scale_by(V v, VI n) {
    VI half = n >> 1;
    return v * power_of_two(half) * power_of_two(n - half);
}

INLINE V vexp(V x) {
    VI n;
    V r = exp_reduce(clamp(x, FDL_EXP_LOW, FDL_EXP_HIGH), &n);
    return scale_by(expm1_series(r) + 1, n);
}

/* expm1 of x <= 0; at -60 it is -1 for both types. */
INLINE V vexpm1_negative(V x) {
    VI n;
    V r = exp_reduce(clamp(x, -60, 0), &n), power = power_of_two(n);
    return power * expm1_series(r) + (power - 1);
}

INLINE V vsigmoid(V x) { return 1 / (1 + vexp(-x)); }

/* tanh |x| = e / (e + 2) with e = expm1(2 |x|), which keeps its relative accuracy near zero. */
INLINE V vtanh(V x) {
    VI sign = (VI)x & (VI)splat((T)-0.0), n;
    V magnitude = magnitude_of(x);
    magnitude = choose(magnitude > FDL_TANH_HIGH, splat(FDL_TANH_HIGH), magnitude);
    V p = expm1_series(exp_reduce(2 * magnitude, &n)), power = power_of_two(n);
    V e = power * p + (power - 1);
    return (V)((VI)(e / (e + 2)) | sign);
}

/* log((1 + f) 2^n) for 1 + f in [sqrt(1/2), sqrt(2)), by log(1 + f) = 2 s + s z series with s = f / (2 + f), z = s s;
 * written f - s (f - z series), which rounds f exactly. */
INLINE V log_of(V f, V n) {
    V s = f / (2 + f), z = s * s;
    V series = splat((T)2 / (2 * FDL_LOG_TERMS + 1));
    for (int i = FDL_LOG_TERMS - 1; i >= 1; i--) series = series * z + (T)2 / (2 * i + 1);
    return f - (s * (f - z * series) - n * (T)FDL_LN2_LOW) + n * (T)FDL_LN2_HIGH;
}

/* Natural logarithm of positive normal numbers; below that -inf for zero, NaN for negatives. */
INLINE V vlog(V x) {
    const VI half_bits = (VI)splat((T)0.70710678118654752440);
    VI n = ((VI)x - half_bits) >> FDL_MANTISSA;
    V m = (V)((VI)x - (n << FDL_MANTISSA));
    V y = log_of(m - 1, __builtin_convertvector(n, V));
    y = choose(x < FDL_SMALLEST, splat(-(T)__builtin_inf()), y);
    y = choose(x > (T)(FDL_IS_F32 ? 3.40282347e38 : 1.7976931348623157e308), x, y); /* inf stays */
    y = choose(x < 0, splat((T)__builtin_nan("")), y);
    return choose(x == x, y, x);
}

/* log(1 + u) for u in [0, 1]: from sqrt(2) on, 1 + u = 2 (1 + (u - 1) / 2). */
INLINE V vlog1p(V u) {
    VI upper = u > (T)0.41421356237309504880;
    return log_of(choose(upper, (u - 1) / 2, u), keep(upper, splat(1)));
}

/* The normal distribution: with e = exp(-x x / 2) = (1 + what is returned) 2^n, P(X < -|x|) = *tail e.
 * exp(-x x / 2) needs x x to twice the precision: the square of x's upper half is exact, the rest is small. The tail's
 * ratio to it, times 1 + |x| / 2, is smooth in (|x| - c) / (|x| + c): Chebyshev (Shepherd and Laframboise 1981). */
INLINE V normal_tail(V x, VI *n, V *tail) {
    static const T series[] = FDL_TAIL_SERIES;
    const int terms = sizeof series / sizeof *series;
    V a = magnitude_of(x);
    a = choose(a > FDL_TAIL_END, splat(FDL_TAIL_END), a);
    V upper = (V)((VI)a & -((I)1 << ((FDL_MANTISSA + 1) / 2 + 1)));
    V r = exp_reduce(upper * upper * (T)-0.5, n) - (a - upper) * (a + upper) * (T)0.5;
    V q = (a - FDL_TAIL_CENTRE) / (a + FDL_TAIL_CENTRE), p = splat(series[terms - 1]);
    for (int i = terms - 2; i >= 0; i--) p = p * q + series[i];
    *tail = p / (1 + a * (T)0.5);
    return expm1_series(r);
}

/* x^by for x in [0, 1]; 0^0 is 1. */
INLINE V power_of(V x, T by) { return vexp(by * vlog(larger(x, splat((T)1e-37)))); }

/* sin 2t and cos 2t for t in [-pi/2, pi/2], where Taylor's series do: cos 2t = 1 - 2 sin^2 t, sin 2t = 2 sin t cos t. */
INLINE void sine_cosine(V t, V *sine, V *cosine) {
    const int terms = FDL_IS_F32 ? 7 : 12;
    V z = t * t, s = splat(1), c = splat(1);
    for (int k = terms; k > 0; k--) {
        s = 1 - z * s / (T)(2 * k * (2 * k + 1));
        c = 1 - z * c / (T)(2 * k * (2 * k - 1));
    }
    s *= t;
    *sine = 2 * s * c;
    *cosine = 1 - 2 * s * s;
}

/* The largest whole number that is not above x, for |x| small enough that FDL_MAGIC rounds. */
INLINE V round_down(V x) {
    V whole = (x + FDL_MAGIC) - FDL_MAGIC;
    return whole - keep(whole > x, splat(1));
}

/* Sine and cosine of x = (n + shift) pi + r with |r| <= pi / 2. pi comes in four parts, whose products with n are exact for
 * |x| up to 1e5 in float32, 1e8 in float64: up to there both are within 1.5 ulp of 1, and near a sine's zero at 0 within 1.5
 * ulp of the result. Beyond they are finite numbers in [-1, 1]; of infinities and NaN, NaN. The series is a Chebyshev
 * approximation on [0, pi / 2], of sin(r) = r + r^3 p(r^2). */
#if FDL_IS_F32
#define FDL_PI_PARTS {3.140625f, 9.65118408203125e-4f, 2.5331974029541015625e-6f, 1.9841871593610808833e-9f}
#define FDL_SINE_SERIES                                                                                        \
    {-0.16666666663879851394f, 0.0083333327685293582062f, -0.0001984108650700056933f, 2.7536459446643091809e-6f, \
     -2.4080095087122077021e-8f}
#define FDL_SINE_CYCLES                                                                                        \
    {6.2831852801329507873f, -41.341680599637861171f, 81.602475054397897648f, -76.581133416651600004f,         \
     39.759468665399082462f}
#define FDL_COSINE_CYCLES                                                                                      \
    {0.99999999977894337656f, -19.739208547513799966f, 64.939346446074357436f, -85.453563219106831496f,        \
     60.143857859068615071f, -24.98120914012063507f}
#else
#define FDL_PI_PARTS                                                                                           \
    {3.1415926516056060791015625, 1.98418714791870343105983920395e-9, 1.1442377419327149807594910802e-17,      \
     3.28925138726485152030338914668e-26}
#define FDL_SINE_SERIES                                                                                        \
    {-0.16666666666666666633, 0.0083333333333333158566, -0.00019841269841254964881, 2.7557319219160832591e-6,  \
     -2.5052107616690449819e-8, 1.6058977292642742897e-10, -7.643969663988074354e-13, 2.7314368769379891871e-15}
#define FDL_SINE_CYCLES                                                                                        \
    {6.2831853071795864756, -41.341702240399756858, 81.605249276073613577, -76.70585975282469309,              \
     42.058693925413180981, -15.094641675544830064, 3.8199280825598191289, -0.71773366908092305454,            \
     0.10089643005221706156}
#define FDL_COSINE_CYCLES                                                                                      \
    {1.0, -19.739208802178717217, 64.939394022668280689, -85.456817206691515251, 60.244641371646505224,        \
     -26.426256769620252737, 7.9035358707856745938, -1.7143794317672350637, 0.28185221069517462068,            \
     -0.035219421366816417391}
#endif

/* The polynomial term[0] + term[1] z + …, `count` terms. */
INLINE V polynomial(V z, const T *term, size_t count) {
    V p = splat(term[count - 1]);
    for (size_t i = count - 1; i-- > 0;) p = p * z + term[i];
    return p;
}
#define FDL_POLYNOMIAL(z, term) polynomial(z, term, sizeof term / sizeof *term)

/* v, or -v where n is odd */
INLINE V flip_odd(V v, VI n) { return (V)((VI)v ^ (n << (8 * sizeof(T) - 1))); }

/* (-1)^n sin r. What is not reduced, beyond the range, is cut, and NaN stays. */
INLINE V sine_beside(V x, T shift) {
    static const T part[] = FDL_PI_PARTS, term[] = FDL_SINE_SERIES;
    const V magic = splat(FDL_MAGIC);
    V rounded = (x * (T)0.31830988618379067154 - shift) + magic;
    const VI n = (VI)rounded - (VI)magic;
    V count = (rounded - magic) + shift, r = x;
    for (size_t i = 0; i < sizeof part / sizeof *part; i++) r -= count * part[i];
    r = clamp(r, (T)-1.6, (T)1.6);
    V z = r * r;
    return flip_odd(clamp(r + r * (z * FDL_POLYNOMIAL(z, term)), -1, 1), n);
}

INLINE V vsin(V x) { return sine_beside(x, 0); }
INLINE V vcos(V x) { return -sine_beside(x, (T)0.5); }

/* cos 2 pi t and sin 2 pi t: whole cycles are taken off without an error. With s = |r| - 1/4 for r = t less the nearest whole
 * number, cos 2 pi t = -sin 2 pi s and sin 2 pi |r| = cos 2 pi s. Within 1.5 ulp of 1 of what t is; for t beyond the range
 * of FDL_MAGIC a finite number. */
INLINE V cycle_cosine(V t, V *sine) {
    static const T of_sine[] = FDL_SINE_CYCLES, of_cosine[] = FDL_COSINE_CYCLES;
    const VI sign_bit = (VI)splat((T)-0.0);
    V r = clamp(t - ((t + FDL_MAGIC) - FDL_MAGIC), (T)-0.5, (T)0.5);
    V s = (T)0.25 - magnitude_of(r), z = s * s;
    if (sine) *sine = (V)((VI)FDL_POLYNOMIAL(z, of_cosine) ^ ((VI)r & sign_bit));
    return s * FDL_POLYNOMIAL(z, of_sine);
}

#endif

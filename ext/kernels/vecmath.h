/* exp, expm1, log, tanh and sigmoid on vectors, to about 2 ulp.
 *
 * exp: x = n ln2 + r with |r| <= ln2 / 2, exp(x) = 2^n (1 + p(r)), p the Taylor series of expm1, which at
 * that radius needs 7 terms for float32 and 13 for float64. log: x = 2^n m with m in [sqrt(1/2), sqrt(2)),
 * log m = 2 atanh((m - 1) / (m + 1)) by its odd series. The splitting of ln2 in two parts is Cody and Waite's
 * (Software Manual for the Elementary Functions, 1980). NaN in, NaN out.
 */
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
#endif

/* 2^n for integer n within the exponent's range. */
INLINE V power_of_two(VI n) { return (V)((n + FDL_BIAS) << FDL_MANTISSA); }

/* expm1 of the reduced argument; *n receives the power of two. x must lie in [FDL_EXP_LOW, FDL_EXP_HIGH]. */
INLINE V expm1_reduced(V x, VI *n) {
    static const T inverse_factorial[14] = {
        1.0, 1.0, 1.0 / 2, 1.0 / 6, 1.0 / 24, 1.0 / 120, 1.0 / 720, 1.0 / 5040, 1.0 / 40320, 1.0 / 362880,
        1.0 / 3628800, 1.0 / 39916800, 1.0 / 479001600, 1.0 / 6227020800};
    const V magic = splat(FDL_MAGIC);
    V rounded = x * (T)1.44269504088896340736 + magic;
    *n = (VI)rounded - (VI)magic;
    rounded -= magic;
    V r = x - rounded * (T)FDL_LN2_HIGH;
    r = r - rounded * (T)FDL_LN2_LOW;
    V p = splat(inverse_factorial[FDL_EXP_TERMS]);
    for (int i = FDL_EXP_TERMS - 1; i >= 2; i--) p = p * r + inverse_factorial[i];
    return p * (r * r) + r;
}

INLINE V clamp(V x, T low, T high) {
    x = choose(x < low, splat(low), x);
    return choose(x > high, splat(high), x);
}

INLINE V vexp(V x) {
    VI n;
    V p = expm1_reduced(clamp(x, FDL_EXP_LOW, FDL_EXP_HIGH), &n);
    VI half = n >> 1; /* in two steps: 2^n alone leaves the exponent's range near both ends */
    return (p + 1) * power_of_two(half) * power_of_two(n - half);
}

INLINE V vsigmoid(V x) { return 1 / (1 + vexp(-x)); }

/* tanh |x| = e / (e + 2) with e = expm1(2 |x|), which keeps its relative accuracy near zero. */
INLINE V vtanh(V x) {
    const VI sign_bit = (VI)splat((T)-0.0);
    VI sign = (VI)x & sign_bit, n;
    V magnitude = (V)((VI)x & ~sign_bit);
    magnitude = choose(magnitude > FDL_TANH_HIGH, splat(FDL_TANH_HIGH), magnitude);
    V p = expm1_reduced(2 * magnitude, &n), scale = power_of_two(n);
    V e = scale * p + (scale - 1);
    return (V)((VI)(e / (e + 2)) | sign);
}

/* Natural logarithm of positive normal numbers; below that -inf for zero, NaN for negatives. */
INLINE V vlog(V x) {
    const VI half_bits = (VI)splat((T)0.70710678118654752440);
    VI n = ((VI)x - half_bits) >> FDL_MANTISSA;
    V m = (V)((VI)x - (n << FDL_MANTISSA));
    V f = m - 1, s = f / (2 + f), z = s * s;
    V series = splat((T)2 / (2 * FDL_LOG_TERMS + 1));
    for (int i = FDL_LOG_TERMS - 1; i >= 1; i--) series = series * z + (T)2 / (2 * i + 1);
    /* log m = 2 s + s z series = f - s (f - z series): the second form rounds f exactly */
    V power = __builtin_convertvector(n, V);
    V y = f - (s * (f - z * series) - power * (T)FDL_LN2_LOW) + power * (T)FDL_LN2_HIGH;
    y = choose(x < FDL_SMALLEST, splat(-(T)__builtin_inf()), y);
    y = choose(x > (T)(FDL_IS_F32 ? 3.40282347e38 : 1.7976931348623157e308), x, y); /* inf stays */
    y = choose(x < 0, splat((T)__builtin_nan("")), y);
    return choose(x == x, y, x);
}

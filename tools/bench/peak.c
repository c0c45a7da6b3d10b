/* The machine's limits, by measurement: fused multiply-adds in registers, and a triad through memory.
   usage: peak THREADS; prints JSON. Compiled with -DLANES=(floats a vector) -DCHAINS=(vectors in flight); with -DBFLOAT16
   the multiply-adds are VDPBF16PS: two products of bfloat16 a lane. */
#ifdef BFLOAT16
#include <immintrin.h>
#define PRODUCTS 2
#define MULTIPLY(sum, x, y) sum = (vec)_mm512_dpbf16_ps((__m512)(sum), (__m512bh)(x), (__m512bh)(y))
#else
#define PRODUCTS 1
#define MULTIPLY(sum, x, y) sum = sum * x + y
#endif
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define MAX_THREADS 256
#define FLOATS (12u << 20) /* of each of three arrays, over all threads: 48 MB, beyond any cache of one core */
#define ROUNDS 200000L

typedef float vec __attribute__((vector_size(4 * LANES)));

static volatile float decay = 0.999f, drift = 0.001f, sink;
static float *a, *b, *c;
static size_t share;

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void *multiply(void *unused) {
    vec sum[CHAINS], x = (vec){0} + decay, y = (vec){0} + drift;
    for (int k = 0; k < CHAINS; k++) sum[k] = x * (float)k;
    for (long i = 0; i < ROUNDS; i++)
#pragma GCC unroll 32
        for (int k = 0; k < CHAINS; k++) MULTIPLY(sum[k], x, y);
    for (int k = 1; k < CHAINS; k++) sum[0] += sum[k];
    sink = sum[0][0];
    return unused;
}

static void *triad(void *part) {
    size_t begin = (size_t)part * share;
    float s = decay;
    for (size_t i = begin; i < begin + share; i++) a[i] = b[i] + s * c[i];
    return part;
}

static double best_of(int tries, void *(*work)(void *), size_t threads) {
    double best = 1e9;
    for (int i = 0; i < tries; i++) {
        pthread_t others[MAX_THREADS];
        double began = now();
        for (size_t t = 1; t < threads; t++) pthread_create(&others[t], NULL, work, (void *)t);
        work((void *)0);
        for (size_t t = 1; t < threads; t++) pthread_join(others[t], NULL);
        double seconds = now() - began;
        if (seconds < best) best = seconds;
    }
    return best;
}

int main(int count, char **arguments) {
    size_t threads = count > 1 ? (size_t)atoi(arguments[1]) : 1;
    if (threads < 1 || threads > MAX_THREADS) return 1;
    share = FLOATS / threads;
    a = malloc(FLOATS * sizeof *a), b = malloc(FLOATS * sizeof *b), c = malloc(FLOATS * sizeof *c);
    if (!a || !b || !c) return 1;
    for (size_t i = 0; i < FLOATS; i++) a[i] = b[i] = c[i] = 1.0f;
    double flops = 2.0 * PRODUCTS * LANES * CHAINS * ROUNDS * (double)threads;
    double bytes = 3.0 * sizeof(float) * (double)(share * threads);
    printf("{\"gflops\": %.2f, ", 1e-9 * flops / best_of(20, multiply, threads));
    printf("\"gbytes\": %.2f}\n", 1e-9 * bytes / best_of(5, triad, threads));
    return 0;
}

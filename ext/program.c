#include "program.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#if defined(__linux__)
#include <sys/mman.h>
#endif
#if defined(__x86_64__)
#include <x86intrin.h>
#endif

#include "team.h"

#define FDL_LARGE ((size_t)4 << 20)
#define FDL_LARGE_PAGE ((size_t)2 << 20)

void *fdl_allocate(size_t size) {
    void *memory;
    if (posix_memalign(&memory, size < FDL_LARGE ? 64 : FDL_LARGE_PAGE, size)) return NULL;
#if defined(MADV_HUGEPAGE)
    /* rows of a large table lie far apart: in pages of 4 kB each would have to be looked up first. Refused is no harm. */
    if (size >= FDL_LARGE) madvise(memory, size, MADV_HUGEPAGE);
#endif
    return memset(memory, 0, size);
}

int fdl_program_append(fdl_program *program, const fdl_instruction *instruction) {
    if (program->count == program->capacity) {
        size_t capacity = program->capacity ? program->capacity * 2 : 32;
        fdl_instruction *grown = realloc(program->instructions, capacity * sizeof *grown);
        if (!grown) return -1;
        program->instructions = grown;
        program->capacity = capacity;
    }
    program->instructions[program->count++] = *instruction;
    return 0;
}

void fdl_program_free(fdl_program *program) {
    free(program->instructions);
    free(program->ticks);
    memset(program, 0, sizeof *program);
}

int fdl_program_measure(fdl_program *program, int enabled) {
    free(program->ticks);
    program->ticks = enabled ? calloc((program->count + 1) * FDL_MAX_THREADS, sizeof(uint64_t)) : NULL;
    return enabled && !program->ticks ? -1 : 0;
}

uint64_t fdl_now(void) {
#if defined(__x86_64__)
    return __rdtsc();
#else
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
#endif
}

typedef struct {
    const fdl_program *program;
    const fdl_step *first;
    size_t steps;
    fdl_barrier barrier;
} job;

static size_t share(size_t units, size_t thread, size_t threads) { return units * thread / threads; }

/* The features of share `thread` of `threads`. */
static void share_features(fdl_range *range, size_t features, size_t thread, size_t threads) {
    size_t units = (features + FDL_UNIT - 1) / FDL_UNIT;
    range->f0 = share(units, thread, threads) * FDL_UNIT;
    range->f1 = share(units, thread + 1, threads) * FDL_UNIT;
    if (range->f1 > features) range->f1 = features;
}

/* What thread `thread` does of an instruction that is not split by panels; an empty range if nothing. */
static fdl_range share_of(const fdl_instruction *in, size_t panels, size_t thread, size_t threads) {
    fdl_range range = {0, panels, 0, in->features, in->axis == FDL_BY_HALF ? FDL_BOTH : 0};
    if (in->axis == FDL_BY_FEATURE || (in->axis == FDL_AFTER_HALVES && threads > 1)) {
        share_features(&range, in->features, thread, threads);
    } else if (in->axis == FDL_BY_HALF && threads > 1) {
        size_t first = threads / 2; /* threads that do the first half; the others do the second */
        range.part = thread >= first;
        share_features(&range, in->features, range.part ? thread - first : thread, range.part ? threads - first : first);
    } else if (thread > 0 || in->axis == FDL_AFTER_HALVES) {
        range.f1 = 0;
    }
    return range;
}

/* Calls a kernel, if it runs in this step, for its share of the batch's panels, with what follows a schedule as it is now. */
static void run_kernel(const fdl_instruction *in, fdl_range range, fdl_step *step, void *scratch) {
    const fdl_args *args = &in->args;
    fdl_args scheduled;
    if (in->every > 1 && (step->step + 1) % in->every) return;
    step->members = in->members;
    range.p0 *= in->members;
    range.p1 *= in->members;
    if (in->scheduled) {
        scheduled = in->args;
        for (size_t i = 0; i < FDL_MAX_ARGUMENTS; i++)
            if (in->scheduled >> i & 1) scheduled.slot[i].s = step->values[in->args.slot[i].n];
        args = &scheduled;
    }
    in->kernel(args, range, step, scratch);
}

/* The same for instruction n of a program; how long it takes is added to the thread's ticks, if it has any. */
static void run_instruction(const fdl_program *program, size_t n, fdl_range range, fdl_step *step, uint64_t *ticks,
                            void *scratch) {
    uint64_t began = ticks ? fdl_now() : 0;
    run_kernel(&program->instructions[n], range, step, scratch);
    if (ticks) ticks[n] += fdl_now() - began;
}

/* Runs the instructions [from, to), which are all split by panels: all of them on one part, then on the next, so that an
 * instruction finds in the cache what the one before it wrote. */
static void run_parts(const fdl_program *program, size_t from, size_t to, fdl_step *step, size_t thread,
                      size_t threads, uint64_t *ticks, void *scratch) {
    size_t panels = (step->batch + FDL_PANEL - 1) / FDL_PANEL;
    size_t end = share(program->parts, thread + 1, threads);
    for (size_t part = share(program->parts, thread, threads); part < end; part++)
        for (size_t n = from; n < to; n++) {
            const fdl_instruction *in = &program->instructions[n];
            fdl_range range = {share(panels, part, program->parts), share(panels, part + 1, program->parts), 0,
                               in->features, part};
            run_instruction(program, n, range, step, ticks, scratch);
        }
}

/* Waits for the other threads. */
static void meet(job *j, size_t threads, uint64_t *ticks) {
    uint64_t began = ticks ? fdl_now() : 0;
    fdl_barrier_wait(&j->barrier, threads);
    if (ticks) ticks[j->program->count] += fdl_now() - began;
}

static void run_steps(void *argument, size_t thread, size_t threads) {
    job *j = argument;
    const fdl_program *program = j->program;
    _Alignas(64) char scratch[FDL_SCRATCH];
    fdl_step step = *j->first;
    size_t panels = (step.batch + FDL_PANEL - 1) / FDL_PANEL;
    uint64_t *ticks = program->ticks ? program->ticks + thread * (program->count + 1) : NULL;
    unsigned long fpu = fdl_fpu_enter();
    for (size_t i = 0; i < j->steps && !program->stop; i++) {
        for (size_t n = 0, next; n < program->count && !program->stop; n = next) {
            const fdl_instruction *in = &program->instructions[n];
            next = n + 1;
            /* A half's threads read all inputs of that half. With two threads, each wrote its half itself; with more, others
             * wrote some of it. */
            if (in->barrier || (in->axis == FDL_BY_HALF && threads > 2)) meet(j, threads, ticks);
            if (in->axis == FDL_BY_PANEL) {
                while (next < program->count && in[next - n].axis == FDL_BY_PANEL && !in[next - n].barrier) next++;
                run_parts(program, n, next, &step, thread, threads, ticks, scratch);
                continue;
            }
            fdl_range range = share_of(in, panels, thread, threads);
            if (range.f0 < range.f1) run_instruction(program, n, range, &step, ticks, scratch);
        }
        meet(j, threads, ticks);
        step.start += step.batch;
        step.step++;
        if (step.rates) step.rates += FDL_MAX_RATES;
        if (step.values) step.values += step.value_count;
    }
    fdl_fpu_leave(fpu);
}

void fdl_program_run(const fdl_program *program, const fdl_step *first, size_t steps, size_t threads) {
    job j = {.program = program, .first = first, .steps = steps};
    fdl_team_run(threads, run_steps, &j);
}

int fdl_index_fits(const int64_t *index, size_t n, size_t rows) {
    int fits = 1;
    for (size_t i = 0; i < n; i++) fits &= (uint64_t)index[i] < rows;
    return fits;
}

typedef struct {
    const fdl_build *build;
    const char *x;
    size_t rows, columns, itemsize;
    ptrdiff_t stride;
    atomic_int finite;
} finite_job;

static void run_finite(void *argument, size_t thread, size_t threads) {
    finite_job *j = argument;
    size_t from = share(j->rows, thread, threads), to = share(j->rows, thread + 1, threads);
    int whole = j->stride == (ptrdiff_t)(j->columns * j->itemsize); /* no gaps: the rows are one long row */
    for (size_t row = from; row < to; row = whole ? to : row + 1)
        if (!j->build->finite(j->x + (ptrdiff_t)row * j->stride, whole ? (to - row) * j->columns : j->columns)) {
            atomic_store(&j->finite, 0);
            return;
        }
}

int fdl_finite_run(const fdl_build *build, const char *x, size_t rows, size_t columns, ptrdiff_t stride, size_t itemsize,
                   size_t threads) {
    finite_job j = {build, x, rows, columns, itemsize, stride, 1};
    fdl_team_run(rows * columns < 1e6 ? 1 : threads, run_finite, &j);
    return atomic_load(&j.finite);
}

typedef struct {
    const fdl_build *build;
    const fdl_matmul *args;
    char *buffers;
    size_t buffer, itemsize;
} matmul_job;

static void run_matmul(void *argument, size_t thread, size_t threads) {
    const matmul_job *j = argument;
    fdl_matmul part = *j->args;
    size_t m0 = 0, m1 = part.m;
    if (part.n >= part.m) { /* cut the longer side of c */
        size_t units = (part.n + 2 * FDL_UNIT - 1) / (2 * FDL_UNIT);
        size_t from = share(units, thread, threads) * 2 * FDL_UNIT;
        size_t to = share(units, thread + 1, threads) * 2 * FDL_UNIT;
        part.n = (to < part.n ? to : part.n) - from;
        part.b = (const char *)part.b + from * part.b_col * j->itemsize;
        part.c = (char *)part.c + from * j->itemsize;
    } else {
        m0 = share(part.m, thread, threads);
        m1 = share(part.m, thread + 1, threads);
    }
    if (m0 < m1 && part.n > 0) j->build->matmul(&part, m0, m1, j->buffers + thread * j->buffer);
}

int fdl_matmul_run(const fdl_build *build, const fdl_matmul *args, size_t itemsize, size_t threads) {
    if ((double)args->m * (double)args->n * (double)args->k < 1e6) threads = 1; /* waking others takes longer */
    if (threads > FDL_MAX_THREADS) threads = FDL_MAX_THREADS;
    size_t buffer = (build->matmul_buffer(args) + 63) / 64 * 64;
    _Alignas(64) char small[FDL_SCRATCH];
    void *buffers = small;
    if (buffer * threads > sizeof small && posix_memalign(&buffers, 64, buffer * threads)) return -1;
    matmul_job j = {build, args, buffers, buffer, itemsize};
    fdl_team_run(threads, run_matmul, &j);
    if (buffers != small) free(buffers);
    return 0;
}

const fdl_build *fdl_find_build(const char *isa, size_t itemsize) {
    int f32 = itemsize == 4;
    if (!strcmp(isa, "portable")) return f32 ? &fdl_portable_f32 : &fdl_portable_f64;
#if defined(__x86_64__)
    __builtin_cpu_init();
    int v3 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("bmi") &&
             __builtin_cpu_supports("bmi2");
    int v4 = v3 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
             __builtin_cpu_supports("avx512cd") && __builtin_cpu_supports("avx512dq") &&
             __builtin_cpu_supports("avx512vl");
    if (v3 && !strcmp(isa, "v3")) return f32 ? &fdl_v3_f32 : &fdl_v3_f64;
    if (v4 && !strcmp(isa, "v4")) return f32 ? &fdl_v4_f32 : &fdl_v4_f64;
#endif
    return NULL;
}

int fdl_multiplies_words(const fdl_build *build) {
#if defined(__x86_64__)
    __builtin_cpu_init();
    return build == &fdl_v4_f32 && __builtin_cpu_supports("avx512bf16");
#else
    (void)build;
    return 0;
#endif
}

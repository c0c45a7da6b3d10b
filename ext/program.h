/* A program: kernels in order, with their arguments, run step after step without returning to Python. */
#ifndef FDL_PROGRAM_H
#define FDL_PROGRAM_H

#include <stddef.h>
#include <stdint.h>

#include "kernels.h"
#include "team.h"

/* How an instruction's work is divided among threads. */
enum {
    FDL_BY_FEATURE,   /* by units of features */
    FDL_BY_PANEL,     /* by parts of the panels */
    FDL_ONCE,         /* not at all: one thread does it */
    FDL_BY_HALF,      /* by the two halves of a sum over inputs, and within a half by units of features */
    FDL_AFTER_HALVES, /* by units of features; left out when one thread does both halves */
};

typedef struct {
    fdl_kernel kernel;
    fdl_args args;
    size_t features;
    int axis;
    int barrier; /* whether all threads must finish what stands before it first */
    size_t members; /* panels to each panel of the batch: see kernels.h */
    size_t every;   /* it runs in each step whose number, from 1 on, is a multiple of this; 0: in all */
    uint32_t scheduled; /* a bit for each argument that follows a schedule: its slot holds the number of its value in a
                           step's values */
} fdl_instruction;

typedef struct {
    fdl_instruction *instructions;
    size_t count, capacity;
    size_t batch, parts;
    uint64_t *ticks; /* NULL, or where each thread adds how long each instruction took it, and last how long it waited */
    int stop; /* set by a kernel that fails, so that nothing after it runs; only for programs on one thread */
} fdl_program;

/* Zeroed memory, aligned to 64 bytes, to be freed by free(), or NULL when out of memory. */
void *fdl_allocate(size_t size);

/* Appends a copy; returns 0, or -1 when out of memory. */
int fdl_program_append(fdl_program *program, const fdl_instruction *instruction);
void fdl_program_free(fdl_program *program);

/* Whether runs measure from now on how long each instruction takes; all counts begin at 0. Returns 0, or -1 when out of
 * memory. Thread t's are ticks[t (count + 1) ...], in fdl_now()'s units. */
int fdl_program_measure(fdl_program *program, int enabled);

/* A clock that is read in a few nanoseconds and counts at some constant rate. */
uint64_t fdl_now(void);

/* Runs `steps` steps. `first` describes the first; each next one starts `batch` rows later, is numbered one
 * higher, and takes the next FDL_MAX_RATES of its rates (steps, FDL_MAX_RATES), which may be NULL, as may be its values
 * (steps, value_count). */
void fdl_program_run(const fdl_program *program, const fdl_step *first, size_t steps, size_t threads);

/* Whether every entry of index (n) lies in [0, rows). */
int fdl_index_fits(const int64_t *index, size_t n, size_t rows);

/* Whether no element of x (rows, columns; stride bytes from row to row) is NaN or infinite, on up to `threads` threads. */
int fdl_finite_run(const fdl_build *build, const char *x, size_t rows, size_t columns, ptrdiff_t stride, size_t itemsize,
                   size_t threads);

/* c = op(a) op(b) on up to `threads` threads; returns 0, or -1 when out of memory. */
int fdl_matmul_run(const fdl_build *build, const fdl_matmul *args, size_t itemsize, size_t threads);

/* The build by name ("portable", "v3", "v4") and element size, or NULL when this CPU cannot run it. */
const fdl_build *fdl_find_build(const char *isa, size_t itemsize);

/* Whether this CPU multiplies bfloat16 by instructions that the build knows (FDL_NATIVE). */
int fdl_multiplies_words(const fdl_build *build);

#endif

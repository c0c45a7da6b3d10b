/* One team of threads per process: workers that spin briefly for the next job, then sleep. */
#ifndef FDL_TEAM_H
#define FDL_TEAM_H

#include <stdatomic.h>
#include <stddef.h>

#define FDL_MAX_THREADS 256

/* Runs body(arg, i, n) for i in [0, n) on n threads, the caller being thread 0, and returns when all are done.
 * n is `threads`, or fewer when threads cannot be made, or 1 when another caller has the team: so the result
 * of body must not depend on n. */
void fdl_team_run(size_t threads, void (*body)(void *arg, size_t thread, size_t threads), void *arg);

/* A barrier for the threads of one job; zero-initialised. */
typedef struct {
    _Alignas(64) atomic_size_t arrived;
    _Alignas(64) atomic_size_t round;
} fdl_barrier;

void fdl_barrier_wait(fdl_barrier *barrier, size_t threads);

/* Flushes subnormal numbers to zero on this thread (they cost some 30 times a normal operation); returns the
 * floating-point state to restore. */
unsigned long fdl_fpu_enter(void);
void fdl_fpu_leave(unsigned long state);

#endif

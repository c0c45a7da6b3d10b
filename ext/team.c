#define _GNU_SOURCE /* cores of threads */
#include "team.h"

#include <pthread.h>
#include <sched.h>
#include <stdint.h>
#include <string.h>
#if defined(__x86_64__)
#include <immintrin.h>
#endif

#define SPINS_BEFORE_SLEEP 20000 /* some 50-500 us: longer than Python needs between two slices */
#define SPINS_BEFORE_YIELD 2000  /* a wait this long means that another program's thread needs the core: let it run */

static void pause_briefly(void) {
#if defined(__x86_64__)
    _mm_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

unsigned long fdl_fpu_enter(void) {
#if defined(__x86_64__)
    unsigned state = _mm_getcsr();
    _mm_setcsr(state | 0x8040); /* flush to zero, denormals are zero */
    return state;
#elif defined(__aarch64__)
    unsigned long state;
    __asm__ volatile("mrs %0, fpcr" : "=r"(state));
    __asm__ volatile("msr fpcr, %0" : : "r"(state | (1ul << 24)));
    return state;
#else
    return 0;
#endif
}

void fdl_fpu_leave(unsigned long state) {
#if defined(__x86_64__)
    _mm_setcsr((unsigned)state);
#elif defined(__aarch64__)
    __asm__ volatile("msr fpcr, %0" : : "r"(state));
#else
    (void)state;
#endif
}

void fdl_barrier_wait(fdl_barrier *barrier, size_t threads) {
    if (threads == 1) return;
    size_t round = atomic_load_explicit(&barrier->round, memory_order_relaxed);
    if (atomic_fetch_add_explicit(&barrier->arrived, 1, memory_order_acq_rel) + 1 == threads) {
        atomic_store_explicit(&barrier->arrived, 0, memory_order_relaxed);
        atomic_store_explicit(&barrier->round, round + 1, memory_order_release);
        return;
    }
    for (size_t spins = 0; atomic_load_explicit(&barrier->round, memory_order_acquire) == round; spins++)
        if (spins < SPINS_BEFORE_YIELD) pause_briefly();
        else sched_yield();
}

/* The core that this thread runs on; -1 where the system does not tell. */
static int own_core(void) {
#if defined(__linux__)
    return sched_getcpu();
#else
    return -1;
#endif
}

/* Moves a worker that runs on the caller's core, where each waits for the other, to another core that it may use. Linux
 * wakes it there while all cores are busy, and may leave it there for seconds after they are not. */
static void leave_core(int taken, size_t threads) {
#if defined(__linux__)
    cpu_set_t all, others;
    if (taken < 0 || sched_getcpu() != taken || sched_getaffinity(0, sizeof all, &all)) return;
    if (CPU_COUNT(&all) < (int)threads) return; /* some share a core in any case */
    others = all;
    CPU_CLR(taken, &others);
    if (!sched_setaffinity(0, sizeof others, &others)) sched_setaffinity(0, sizeof all, &all);
#else
    (void)taken, (void)threads;
#endif
}

static struct {
    pthread_mutex_t in_use; /* held while a job runs */
    pthread_mutex_t lock;   /* guards sleeping */
    pthread_cond_t wake;
    size_t workers; /* made so far; worker i is thread i + 1 of a job */
    void (*body)(void *, size_t, size_t);
    void *arg;
    int core; /* that the caller was on when the job began */
    _Alignas(64) atomic_uint_fast64_t ticket; /* job number * FDL_MAX_THREADS * 2 + its threads */
    _Alignas(64) atomic_size_t running;       /* workers of this job that are not done */
    _Alignas(64) atomic_size_t sleeping;
} team = {.in_use = PTHREAD_MUTEX_INITIALIZER,
          .lock = PTHREAD_MUTEX_INITIALIZER,
          .wake = PTHREAD_COND_INITIALIZER};

#define TICKET_STEP ((uint_fast64_t)FDL_MAX_THREADS * 2)

static uint_fast64_t next_ticket(uint_fast64_t seen) {
    uint_fast64_t ticket;
    for (size_t spins = 0; spins < SPINS_BEFORE_SLEEP; spins++) {
        ticket = atomic_load_explicit(&team.ticket, memory_order_acquire);
        if (ticket != seen) return ticket;
        if (spins % SPINS_BEFORE_YIELD == SPINS_BEFORE_YIELD - 1) sched_yield();
        else pause_briefly();
    }
    pthread_mutex_lock(&team.lock);
    atomic_fetch_add(&team.sleeping, 1);
    while ((ticket = atomic_load(&team.ticket)) == seen) pthread_cond_wait(&team.wake, &team.lock);
    atomic_fetch_sub(&team.sleeping, 1);
    pthread_mutex_unlock(&team.lock);
    return ticket;
}

static void *work(void *argument) {
    size_t thread = (size_t)(uintptr_t)argument & 0xffff;
    uint_fast64_t seen = (uint_fast64_t)((uintptr_t)argument >> 16) * TICKET_STEP;
    /* hire set the ticket to this value: it changes only with a job that is newer than this worker */
    for (;;) {
        uint_fast64_t ticket = next_ticket(seen);
        size_t threads = (size_t)(ticket % TICKET_STEP);
        seen = ticket;
        if (thread >= threads) continue;
        leave_core(team.core, threads);
        team.body(team.arg, thread, threads);
        atomic_fetch_sub_explicit(&team.running, 1, memory_order_release);
    }
    return NULL;
}

/* The child of a fork has no workers, and its locks are in the state that they had in the parent. */
static void after_fork(void) {
    pthread_mutex_init(&team.in_use, NULL);
    pthread_mutex_init(&team.lock, NULL);
    pthread_cond_init(&team.wake, NULL);
    team.workers = 0;
    atomic_store(&team.running, 0);
    atomic_store(&team.sleeping, 0);
}

/* Makes workers until there are `number` of them; returns how many of these there are. A new worker is told the number of
 * the last job, which it does not take. */
static size_t hire(size_t number) {
    static int watching_forks;
    if (!watching_forks) watching_forks = !pthread_atfork(NULL, NULL, after_fork);
    uint_fast64_t job = atomic_load(&team.ticket) / TICKET_STEP;
    atomic_store(&team.ticket, job * TICKET_STEP);
    while (team.workers < number) {
        pthread_t id;
        uintptr_t argument = (uintptr_t)(team.workers + 1) | (uintptr_t)job << 16;
        if (pthread_create(&id, NULL, work, (void *)argument)) break;
        pthread_detach(id);
        team.workers++;
    }
    return team.workers < number ? team.workers : number;
}

void fdl_team_run(size_t threads, void (*body)(void *, size_t, size_t), void *arg) {
    if (threads > FDL_MAX_THREADS) threads = FDL_MAX_THREADS;
    if (threads <= 1 || pthread_mutex_trylock(&team.in_use)) {
        body(arg, 0, 1);
        return;
    }
    size_t workers = team.workers < threads - 1 ? hire(threads - 1) : threads - 1;
    if (workers > 0) {
        team.body = body;
        team.arg = arg;
        team.core = own_core();
        atomic_store(&team.running, workers);
        uint_fast64_t job = atomic_load(&team.ticket) / TICKET_STEP + 1;
        atomic_store(&team.ticket, job * TICKET_STEP + workers + 1);
        if (atomic_load(&team.sleeping) > 0) {
            pthread_mutex_lock(&team.lock);
            pthread_cond_broadcast(&team.wake);
            pthread_mutex_unlock(&team.lock);
        }
    }
    body(arg, 0, workers + 1);
    for (size_t spins = 0; atomic_load_explicit(&team.running, memory_order_acquire) > 0; spins++)
        if (spins < SPINS_BEFORE_YIELD) pause_briefly();
        else sched_yield();
    pthread_mutex_unlock(&team.in_use);
}

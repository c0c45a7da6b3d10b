/* Makes the Nth call of one function of the C library fail, or end the process: what is preloaded into a child whose
 * test asks for it. fault_arm() begins to count; until then, and after fault_disarm(), every call goes through. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <unistd.h>

/* FULL: as a disk that fills up, of which the Nth write takes half, and those after it nothing. */
enum { FAULT_ONCE, FAULT_FOR_GOOD, FAULT_SHORT, FAULT_KILL, FAULT_FULL };
static char armed[32], library[64];
static int how, error;
static size_t least;
static long at;
static atomic_long calls;
static atomic_int paused;

/* kind: memory, write, fsync, rename, open or chmod. nth: which call of it, from 1; 0 only counts. Of memory those calls that
 * come from a library with `from` in its name and ask for `size` bytes or more. */
void fault_arm(const char *kind, long nth, int mode, int number, const char *from, size_t size) {
    armed[0] = 0;
    atomic_store(&calls, 0);
    at = nth, how = mode, error = number, least = size;
    strncpy(library, from, sizeof library - 1);
    strncpy(armed, kind, sizeof armed - 1);
}

/* Returns how many calls there were. */
long fault_disarm(void) {
    armed[0] = 0;
    return atomic_load(&calls);
}

/* While it is paused every call goes through, uncounted. */
void fault_pause(int whether) { atomic_store(&paused, whether); }

/* Whether this call of `kind` is to fail. */
static int fails(const char *kind) {
    if (!armed[0] || strcmp(armed, kind)) return 0;
    long number = atomic_fetch_add(&calls, 1) + 1;
    if (!at || number < at || (number > at && how != FAULT_FOR_GOOD && how != FAULT_FULL)) return 0;
    if (how == FAULT_KILL) raise(SIGKILL);
    errno = error;
    return 1;
}
static int runs_out(size_t size, void *caller) {
    Dl_info info;
    if (!armed[0] || size < least || atomic_load(&paused)) return 0;
    if (library[0] && (!dladdr(caller, &info) || !strstr(info.dli_fname, library))) return 0;
    return fails("memory");
}

void *__libc_malloc(size_t), *__libc_calloc(size_t, size_t), *__libc_realloc(void *, size_t), *__libc_memalign(size_t, size_t);
#define RUNS_OUT(size) runs_out(size, __builtin_return_address(0))
void *malloc(size_t size) { return RUNS_OUT(size) ? NULL : __libc_malloc(size); }
void *calloc(size_t n, size_t size) { return RUNS_OUT(n * size) ? NULL : __libc_calloc(n, size); }
void *realloc(void *old, size_t size) { return RUNS_OUT(size) ? NULL : __libc_realloc(old, size); }
int posix_memalign(void **to, size_t alignment, size_t size) {
    void *memory = RUNS_OUT(size) ? NULL : __libc_memalign(alignment, size);
    if (memory) *to = memory;
    return memory ? 0 : ENOMEM;
}

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))
ssize_t write(int file, const void *data, size_t size) {
    if (file <= 2) return REAL(write)(file, data, size);
    int failing = fails("write");
    int some = how == FAULT_SHORT || (how == FAULT_FULL && atomic_load(&calls) == at);
    if (failing && !some) return -1;
    return REAL(write)(file, data, failing && size > 1 ? size / 2 : size);
}
int fsync(int file) { return fails("fsync") ? -1 : REAL(fsync)(file); }
int rename(const char *from, const char *to) { return fails("rename") ? -1 : REAL(rename)(from, to); }
int fchmodat(int folder, const char *path, mode_t mode, int flags) {
    return fails("chmod") ? -1 : REAL(fchmodat)(folder, path, mode, flags);
}
int chmod(const char *path, mode_t mode) { return fails("chmod") ? -1 : REAL(chmod)(path, mode); }
int open64(const char *path, int flags, ...) {
    va_list list;
    va_start(list, flags);
    mode_t mode = va_arg(list, mode_t);
    va_end(list);
    return flags & (O_WRONLY | O_RDWR) && fails("open") ? -1 : REAL(open64)(path, flags, mode);
}

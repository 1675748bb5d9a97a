/* A wall clock that a test sets, for one process. Preloaded, it answers in place of the kernel.
 *
 * GATEHOUSE_TEST_CLOCK_STATE names a file with three 64-bit integers. The first is the number of
 * milliseconds that the wall clock is ahead of the real one. The second is whether adjtimex reports the
 * clock as synchronised. The third is the number of milliseconds that the time since the boot is ahead of
 * the real one. CLOCK_MONOTONIC does not change. GATEHOUSE_TEST_BOOT_ID names the file that is read in
 * place of the kernel's boot id.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/timex.h>
#include <time.h>

struct state {
    volatile int64_t ahead_ms;
    volatile int64_t synced;
    volatile int64_t up_ahead_ms;
};

static struct state *state(void)
{
    static struct state *mapped;
    if (!mapped) {
        const char *path = getenv("GATEHOUSE_TEST_CLOCK_STATE");
        int file = path ? open(path, O_RDONLY) : -1;
        void *found = mmap(NULL, sizeof *mapped, PROT_READ, MAP_SHARED, file, 0);
        if (found == MAP_FAILED)
            abort();
        mapped = found;
    }
    return mapped;
}

int clock_gettime(clockid_t clock, struct timespec *at)
{
    static int (*real)(clockid_t, struct timespec *);
    if (!real)
        real = (int (*)(clockid_t, struct timespec *))dlsym(RTLD_NEXT, "clock_gettime");
    int result = real(clock, at);
    if (result == 0 && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE))
        at->tv_sec += state()->ahead_ms / 1000;
    if (result == 0 && clock == CLOCK_BOOTTIME)
        at->tv_sec += state()->up_ahead_ms / 1000;
    return result;
}

int open64(const char *path, int flags, ...)
{
    static int (*real)(const char *, int, ...);
    if (!real)
        real = (int (*)(const char *, int, ...))dlsym(RTLD_NEXT, "open64");
    va_list rest;
    va_start(rest, flags);
    mode_t mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(rest, mode_t) : 0;
    va_end(rest);
    const char *boot_id = getenv("GATEHOUSE_TEST_BOOT_ID");
    if (boot_id && !strcmp(path, "/proc/sys/kernel/random/boot_id"))
        path = boot_id;
    return real(path, flags, mode);
}

int adjtimex(struct timex *t)
{
    t->status = state()->synced ? 0 : STA_UNSYNC;
    return state()->synced ? TIME_OK : TIME_ERROR;
}

/* Simulates another network for one process. Preloaded, it redirects reads below /proc/net to the folder
 * that GATEHOUSE_TEST_NETWORK names.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>

static const char *elsewhere(const char *path, char *place, size_t size)
{
    static const char net[] = "/proc/net/";
    const char *folder = getenv("GATEHOUSE_TEST_NETWORK");
    if (!folder || strncmp(path, net, sizeof net - 1) != 0)
        return path;
    int length = snprintf(place, size, "%s/%s", folder, path + sizeof net - 1);
    if (length < 0 || (size_t)length >= size)
        abort();
    return place;
}

#define OPENS(name)                                                                     \
    int name(const char *path, int flags, ...)                                          \
    {                                                                                   \
        static int (*real)(const char *, int, ...);                                     \
        if (!real)                                                                      \
            real = (int (*)(const char *, int, ...))dlsym(RTLD_NEXT, #name);            \
        char place[PATH_MAX];                                                           \
        va_list rest;                                                                   \
        va_start(rest, flags);                                                          \
        mode_t mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(rest, mode_t) : 0;         \
        va_end(rest);                                                                   \
        return real(elsewhere(path, place, sizeof place), flags, mode);                 \
    }

OPENS(open)
OPENS(open64)

// Preloaded into an ARM program under qemu-user, which supports TCGETS but not TCGETS2. A program sets
// any baud rate with TCSETS2. Here the rate becomes 9600, because a pseudo-terminal ignores it.
#define _GNU_SOURCE
#include <asm/ioctls.h>
#include <asm/termbits.h>
#include <dlfcn.h>
#include <stdarg.h>
#include <string.h>

int ioctl(int fd, unsigned long request, ...) {
    static int (*next)(int, unsigned long, ...);
    if (!next) next = dlsym(RTLD_NEXT, "ioctl");
    va_list arguments;
    va_start(arguments, request);
    struct termios2 *two = va_arg(arguments, void *);
    va_end(arguments);
    struct termios one;
    switch (request) {
    case TCGETS2: {
        int result = next(fd, TCGETS, &one);
        if (result == 0) {
            memcpy(two, &one, sizeof one);
            two->c_ispeed = two->c_ospeed = 9600;
        }
        return result;
    }
    case TCSETS2:
    case TCSETSW2:
    case TCSETSF2:
        memcpy(&one, two, sizeof one);
        one.c_cflag = (one.c_cflag & ~CBAUD) | B9600;
        return next(fd, TCSETS + (request - TCSETS2), &one);
    default:
        return next(fd, request, two);
    }
}

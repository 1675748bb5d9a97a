/* Simulates a faulty disk without privileges. Preloaded into the program under test, it replaces the C
 * library's calls for files below one folder.
 *
 * GATEHOUSE_TEST_DISK names that folder. GATEHOUSE_TEST_DISK_STATE names a file with `struct state`. The
 * test writes it at any time, and all processes that map it see the change.
 *
 * A full disk behaves as a real one. Existing data can be overwritten. A growing file takes room in
 * blocks. Writes become short before they fail. Truncation and removal free room. (Unlike on a real disk,
 * a hole takes room when it is made.)
 *
 * cc -shared -fPIC -O1 -o faulty_disk.so faulty_disk.c -ldl
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

enum mode { WELL, FULL, READ_ONLY, IO_ERROR, IO_ERROR_READING, TORN };

struct state {
    _Atomic int64_t mode;
    _Atomic int64_t room;    /* FULL: free bytes; TORN: number of the write that is cut in half */
    _Atomic int64_t sync_ms; /* additional time of each sync, in every mode */
    _Atomic int64_t faults;  /* number of failed calls */
};

#define BLOCK 4096

static struct state well, *state = &well;
static char folder[PATH_MAX];
static size_t folder_length;

/* The function of this name in the C library. */
#define REAL(name) \
    static __typeof__(name) *real; \
    if (!real) real = (__typeof__(name) *)dlsym(RTLD_NEXT, #name)

__attribute__((constructor)) static void begin(void) {
    const char *dir = getenv("GATEHOUSE_TEST_DISK"), *path = getenv("GATEHOUSE_TEST_DISK_STATE");
    if (!dir || !path) return;
    int fd = open(path, O_RDWR | O_CLOEXEC);
    void *shared = MAP_FAILED;
    if (fd >= 0) shared = mmap(NULL, sizeof *state, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (shared == MAP_FAILED) {
        perror(path);
        abort();
    }
    close(fd);
    snprintf(folder, sizeof folder, "%s", dir);
    folder_length = strlen(folder);
    state = shared;
}

static int failed(int error) {
    atomic_fetch_add(&state->faults, 1);
    errno = error;
    return -1;
}

static int below(const char *path) {
    return folder_length && !strncmp(path, folder, folder_length)
        && (path[folder_length] == '/' || !path[folder_length]);
}

static int path_is_ours(int dir, const char *path) {
    char whole[PATH_MAX];
    if (*path == '/') return below(path);
    char link[64], from[PATH_MAX];
    if (dir == AT_FDCWD) snprintf(link, sizeof link, "/proc/self/cwd");
    else snprintf(link, sizeof link, "/proc/self/fd/%d", dir);
    ssize_t length = readlink(link, from, sizeof from - 1);
    if (length < 0) return 0;
    from[length] = 0;
    snprintf(whole, sizeof whole, "%.*s/%s", (int)length, from, path);
    return below(whole);
}

static int is_ours(int fd) {
    char link[64], path[PATH_MAX];
    int before = errno;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, sizeof path - 1);
    errno = before;
    if (length < 0) return 0;
    path[length] = 0;
    return below(path);
}

static int64_t blocks(int64_t bytes) { return (bytes + BLOCK - 1) / BLOCK; }

static int64_t size_of(int fd) {
    struct stat it;
    return fstat(fd, &it) ? 0 : it.st_size;
}

static void give_back(int64_t bytes) {
    if (state->mode == FULL) atomic_fetch_add(&state->room, blocks(bytes) * BLOCK);
}

/* Takes the room for a file to grow to `end`. Returns the size that it may have. */
static int64_t take(int fd, int64_t end) {
    int64_t size = size_of(fd), wanted = blocks(end) - blocks(size);
    if (wanted <= 0) return end;
    int64_t room = atomic_load(&state->room), taken;
    do {
        taken = room / BLOCK < wanted ? room / BLOCK : wanted;
        if (taken < 0) taken = 0;
    } while (!atomic_compare_exchange_weak(&state->room, &room, room - taken * BLOCK));
    return taken == wanted ? end : (blocks(size) + taken) * BLOCK;
}

/* Returns how many bytes may be written at `from`, or -1 with errno. */
static ssize_t allowed(int fd, int64_t from, size_t count) {
    int64_t mode = state->mode;
    if (mode == WELL || mode == IO_ERROR_READING || mode == TORN || !count || !is_ours(fd)) return count;
    if (mode == READ_ONLY) return failed(EROFS);
    if (mode == IO_ERROR) return failed(EIO);
    int64_t may = take(fd, from + (int64_t)count) - from;
    return may > 0 ? may : failed(ENOSPC);
}

/* The power goes within this write: the process ends after the first half of it. */
static int is_cut(int fd) {
    return state->mode == TORN && is_ours(fd) && atomic_fetch_sub(&state->room, 1) == 1;
}

static ssize_t cut(void) { return raise(SIGKILL); }

static int64_t position(int fd) {
    int64_t at = fcntl(fd, F_GETFL) & O_APPEND ? size_of(fd) : lseek(fd, 0, SEEK_CUR);
    return at < 0 ? 0 : at;
}

ssize_t write(int fd, const void *bytes, size_t count) {
    REAL(write);
    if (state->mode == WELL) return real(fd, bytes, count);
    if (is_cut(fd)) return real(fd, bytes, count / 2), cut();
    int before = errno;
    ssize_t may = allowed(fd, position(fd), count);
    if (may < 0) return -1;
    errno = before; /* a pipe has no position */
    return real(fd, bytes, may);
}

ssize_t writev(int fd, const struct iovec *parts, int count) {
    REAL(writev);
    if (state->mode == WELL || count < 1 || !is_ours(fd)) return real(fd, parts, count);
    return write(fd, parts[0].iov_base, parts[0].iov_len);
}

#define PWRITE(name) \
    ssize_t name(int fd, const void *bytes, size_t count, off_t at) { \
        REAL(name); \
        if (is_cut(fd)) return real(fd, bytes, count / 2, at), cut(); \
        ssize_t may = allowed(fd, at, count); \
        return may < 0 ? -1 : real(fd, bytes, may, at); \
    }
PWRITE(pwrite)
PWRITE(pwrite64)

static int cannot_read(int fd) { return state->mode == IO_ERROR_READING && is_ours(fd); }

ssize_t read(int fd, void *bytes, size_t count) {
    REAL(read);
    return cannot_read(fd) ? failed(EIO) : real(fd, bytes, count);
}

#define PREAD(name) \
    ssize_t name(int fd, void *bytes, size_t count, off_t at) { \
        REAL(name); \
        return cannot_read(fd) ? failed(EIO) : real(fd, bytes, count, at); \
    }
PREAD(pread)
PREAD(pread64)

/* Returns the error for a change that needs no room, or 0. */
static int refused(void) {
    if (state->mode == READ_ONLY) return EROFS;
    return state->mode == IO_ERROR ? EIO : 0;
}

#define FTRUNCATE(name) \
    int name(int fd, off_t size) { \
        REAL(name); \
        if (state->mode == WELL || !is_ours(fd)) return real(fd, size); \
        if (refused()) return failed(refused()); \
        int64_t before = size_of(fd); \
        if (state->mode == FULL && size > before && take(fd, size) < size) return failed(ENOSPC); \
        int done = real(fd, size); \
        if (!done && size < before) give_back((blocks(before) - blocks(size)) * BLOCK); \
        return done; \
    }
FTRUNCATE(ftruncate)
FTRUNCATE(ftruncate64)

/* Takes all the room for a file up to `end`, or none. Returns 0, or the error. */
static int allot(int fd, int64_t end) {
    if (state->mode == WELL || !is_ours(fd)) return 0;
    if (refused()) return refused();
    int64_t size = size_of(fd);
    if (state->mode != FULL || end <= size) return 0;
    int64_t upto = take(fd, end);
    if (upto >= end) return 0;
    give_back((blocks(upto) - blocks(size)) * BLOCK);
    return ENOSPC;
}

#define FALLOCATE(name) \
    int name(int fd, int how, off_t from, off_t length) { \
        REAL(name); \
        int error = allot(fd, from + length); \
        return error ? failed(error) : real(fd, how, from, length); \
    }
FALLOCATE(fallocate)
FALLOCATE(fallocate64)

#define POSIX_FALLOCATE(name) \
    int name(int fd, off_t from, off_t length) { \
        REAL(name); \
        int error = allot(fd, from + length); \
        if (error) failed(error); \
        return error ? error : real(fd, from, length); \
    }
POSIX_FALLOCATE(posix_fallocate)
POSIX_FALLOCATE(posix_fallocate64)

#define SYNC(name) \
    int name(int fd) { \
        REAL(name); \
        int64_t ms = state->sync_ms; \
        if (ms && is_ours(fd)) { \
            struct timespec pause = {ms / 1000, ms % 1000 * 1000000}; \
            nanosleep(&pause, NULL); \
        } \
        if (state->mode == IO_ERROR && is_ours(fd)) return failed(EIO); \
        return real(fd); \
    }
SYNC(fsync)
SYNC(fdatasync)

/* Returns whether opening the file with these flags fails. */
static int may_not_open(int dir, const char *path, int flags) {
    if (state->mode != READ_ONLY || !path_is_ours(dir, path)) return 0;
    return (flags & O_ACCMODE) != O_RDONLY || (flags & (O_CREAT | O_TRUNC));
}

/* Returns the room that O_TRUNC frees. */
static int64_t cut_by(int dir, const char *path, int flags) {
    struct stat it;
    if (state->mode != FULL || !(flags & O_TRUNC) || !path_is_ours(dir, path)) return 0;
    return fstatat(dir, path, &it, 0) ? 0 : it.st_size;
}

#define MODE_OF(flags) \
    mode_t mode = 0; \
    if (flags & (O_CREAT | O_TMPFILE)) { \
        va_list more; \
        va_start(more, flags); \
        mode = va_arg(more, mode_t); \
        va_end(more); \
    }
#define OPEN(name) \
    int name(const char *path, int flags, ...) { \
        REAL(name); \
        MODE_OF(flags) \
        if (may_not_open(AT_FDCWD, path, flags)) return failed(EROFS); \
        int64_t cut = cut_by(AT_FDCWD, path, flags); \
        int fd = real(path, flags, mode); \
        if (fd >= 0) give_back(cut); \
        return fd; \
    }
#define OPENAT(name) \
    int name(int dir, const char *path, int flags, ...) { \
        REAL(name); \
        MODE_OF(flags) \
        if (may_not_open(dir, path, flags)) return failed(EROFS); \
        int64_t cut = cut_by(dir, path, flags); \
        int fd = real(dir, path, flags, mode); \
        if (fd >= 0) give_back(cut); \
        return fd; \
    }
OPEN(open)
OPEN(open64)
OPENAT(openat)
OPENAT(openat64)

/* Returns the room that the removal of a name frees. */
static int64_t held_by(const char *path) {
    struct stat it;
    return lstat(path, &it) || it.st_nlink != 1 || !S_ISREG(it.st_mode) ? 0 : it.st_size;
}

int unlink(const char *path) {
    REAL(unlink);
    if (state->mode == WELL || !path_is_ours(AT_FDCWD, path)) return real(path);
    if (refused()) return failed(refused());
    int64_t held = held_by(path);
    int done = real(path);
    if (!done) give_back(held);
    return done;
}

int rename(const char *from, const char *to) {
    REAL(rename);
    if (state->mode == WELL || !path_is_ours(AT_FDCWD, to)) return real(from, to);
    if (refused()) return failed(refused());
    int64_t held = held_by(to);
    int done = real(from, to);
    if (!done) give_back(held);
    return done;
}

int mkdir(const char *path, mode_t mode) {
    REAL(mkdir);
    struct stat it;
    if (state->mode == WELL || !path_is_ours(AT_FDCWD, path) || !lstat(path, &it))
        return real(path, mode); /* fails where the folder exists */
    if (refused()) return failed(refused());
    return state->mode == FULL && state->room < BLOCK ? failed(ENOSPC) : real(path, mode);
}

#define ROOM(it) \
    if (state->mode == FULL) { \
        int64_t room = state->room; \
        it->f_bfree = it->f_bavail = room > 0 ? room / it->f_frsize : 0; \
    } \
    if (state->mode == READ_ONLY) it->f_flag |= ST_RDONLY;
#define STATVFS(name, type) \
    int name(const char *path, struct type *it) { \
        REAL(name); \
        int done = real(path, it); \
        if (!done && path_is_ours(AT_FDCWD, path)) { ROOM(it) } \
        return done; \
    }
#define FSTATVFS(name, type) \
    int name(int fd, struct type *it) { \
        REAL(name); \
        int done = real(fd, it); \
        if (!done && is_ours(fd)) { ROOM(it) } \
        return done; \
    }
STATVFS(statvfs, statvfs)
STATVFS(statvfs64, statvfs64)
FSTATVFS(fstatvfs, statvfs)
FSTATVFS(fstatvfs64, statvfs64)

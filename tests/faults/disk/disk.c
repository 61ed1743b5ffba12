/* A disk that forgets and fails, put before libc (LD_PRELOAD) for files below FAULTY_DISK_ROOT.

   It forgets: each fsync copies what it confirmed into FAULTY_DISK_SHADOW: a file's bytes, a folder's list of names.
   What a power cut leaves is made of these copies alone (disk.py). FAULTY_DISK_DEAF holds patterns (f:PATH or d:PATH,
   separated by semicolons) of fsyncs that say yes and confirm nothing.

   It fails: while the file FAULTY_DISK_FULL exists no write finds room. FAULTY_DISK_FAIL=KIND:N:PATTERN has the N-th
   write to a matching path fail: eio, enospc, short (half of it), flip (one bit is written wrong). */

#define _GNU_SOURCE
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <limits.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

static atomic_int copies, matching_writes;

static ssize_t plain_write(int fd, const void *data, size_t size) { return syscall(SYS_write, fd, data, size); }

static ssize_t plain_pwrite(int fd, const void *data, size_t size, off_t at) {
    return syscall(SYS_pwrite64, fd, data, size, at);
}

/* The path below the root, without a leading slash; NULL for files elsewhere. */
static const char *below_root(int fd, char *room) {
    const char *root = getenv("FAULTY_DISK_ROOT");
    char link[64];
    if (root == NULL) return NULL;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, room, PATH_MAX - 1);
    size_t prefix = strlen(root);
    if (length < (ssize_t)prefix || strncmp(room, root, prefix) != 0) return NULL;
    room[length] = 0;
    if (room[prefix] == 0) return room + prefix;
    return room[prefix] == '/' ? room + prefix + 1 : NULL;
}

/* A name that no other file ever has: inodes are used again, moments of birth are not. */
static int identity(int fd, const char *name, int flags, char *out, size_t size) {
    struct statx found;
    if (syscall(SYS_statx, fd, name, flags | AT_SYMLINK_NOFOLLOW, STATX_BASIC_STATS | STATX_BTIME, &found) != 0) return -1;
    snprintf(out, size, "%llu-%lld-%u", (unsigned long long)found.stx_ino, (long long)found.stx_btime.tv_sec,
             found.stx_btime.tv_nsec);
    return S_ISDIR(found.stx_mode) ? 'd' : 'f';
}

static void copy_names(int fd, int out) {
    int again = openat(fd, ".", O_RDONLY | O_DIRECTORY);
    DIR *folder = fdopendir(again);
    for (struct dirent *entry; (entry = readdir(folder)) != NULL;) {
        char who[96], line[PATH_MAX];
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0) continue;
        int kind = identity(again, entry->d_name, 0, who, sizeof who);
        if (kind < 0) continue;
        int length = snprintf(line, sizeof line, "%c\t%s\t%s\n", kind, who, entry->d_name);
        plain_write(out, line, (size_t)length);
    }
    closedir(folder);
}

static void copy_bytes(int fd, int out) {
    char link[64], block[1 << 16];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    int in = open(link, O_RDONLY);
    for (ssize_t got; (got = read(in, block, sizeof block)) > 0;) plain_write(out, block, (size_t)got);
    close(in);
}

static int is_deaf(int kind, const char *path) {
    const char *list = getenv("FAULTY_DISK_DEAF");
    char name[PATH_MAX], pattern[PATH_MAX];
    if (list == NULL) return 0;
    snprintf(name, sizeof name, "%c:%s", kind, path);
    while (*list) {
        size_t length = strcspn(list, ";");
        snprintf(pattern, sizeof pattern, "%.*s", (int)length, list);
        if (fnmatch(pattern, name, 0) == 0) return 1;
        list += length + (list[length] == ';');
    }
    return 0;
}

static int confirm(int fd) {
    char room[PATH_MAX], who[96], half[PATH_MAX], whole[PATH_MAX];
    const char *shadow = getenv("FAULTY_DISK_SHADOW"), *path = below_root(fd, room);
    if (path == NULL || shadow == NULL) return 0;
    int kind = identity(fd, "", AT_EMPTY_PATH, who, sizeof who);
    if (is_deaf(kind, path)) return 0;
    snprintf(half, sizeof half, "%s/half-%d-%d", shadow, getpid(), atomic_fetch_add(&copies, 1));
    snprintf(whole, sizeof whole, "%s/%s", shadow, *path ? who : "root");
    int out = open(half, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    if (kind == 'd') copy_names(fd, out); else copy_bytes(fd, out);
    close(out);
    return rename(half, whole);
}

int fsync(int fd) { return confirm(fd); }
int fdatasync(int fd) { return confirm(fd); }

/* What is to happen to this write: 0 nothing, or the first letter of a kind of failure. */
static int trouble(int fd) {
    char room[PATH_MAX];
    const char *full = getenv("FAULTY_DISK_FULL"), *order = getenv("FAULTY_DISK_FAIL"), *path;
    if (full != NULL && access(full, F_OK) == 0 && below_root(fd, room) != NULL) return 'n';
    if (order == NULL || (path = below_root(fd, room)) == NULL) return 0;
    char kind[16];
    int time, used;
    if (sscanf(order, "%15[a-z]:%d:%n", kind, &time, &used) != 2 || fnmatch(order + used, path, 0) != 0) return 0;
    if (atomic_fetch_add(&matching_writes, 1) + 1 != time) return 0;
    return strcmp(kind, "enospc") == 0 ? 'n' : kind[0];
}

static ssize_t put(int fd, const void *data, size_t size, off_t at, int placed) {
    int what = trouble(fd);
    char *wrong = NULL;
    if (what == 'e' || what == 'n') {
        errno = what == 'e' ? EIO : ENOSPC;
        return -1;
    }
    if (what == 's' && size > 1) size /= 2;
    if (what == 'f' && size > 0 && (wrong = malloc(size)) != NULL) {
        memcpy(wrong, data, size);
        wrong[size / 2] ^= 1;
        data = wrong;
    }
    ssize_t done = placed ? plain_pwrite(fd, data, size, at) : plain_write(fd, data, size);
    free(wrong);
    return done;
}

ssize_t write(int fd, const void *data, size_t size) { return put(fd, data, size, 0, 0); }
ssize_t pwrite(int fd, const void *data, size_t size, off_t at) { return put(fd, data, size, at, 1); }
ssize_t pwrite64(int fd, const void *data, size_t size, off64_t at) { return put(fd, data, size, at, 1); }

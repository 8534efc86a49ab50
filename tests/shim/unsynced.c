/*
 * A witness of syncs, loaded into a process with LD_PRELOAD: it writes down what each completed fsync or fdatasync has
 * made durable, and each completed write to a descriptor with O_DSYNC, so that a test can take away everything else after
 * a crash, as a power cut does. It never changes data.
 *
 * ROOKERY_SYNC_LOG   the record; the process's id is appended to the name
 * ROOKERY_SYNC_DELAY microseconds to wait before each sync, so that a crash finds much unsynced
 * ROOKERY_SYNC_LIE   a path: while it exists syncs say that they succeeded and are neither done nor recorded
 *
 * Lines: "F dev ino length" for a file, "D dev ino" with " ino/name" for each entry of a folder, "U dev ino" for an inode
 * whose name was taken away, so that the number may be used again, "W dev ino offset length" for what a write with
 * O_DSYNC made durable, "O dev ino offset length place" before such a write overwrites bytes: what was there is at this
 * place of the file ROOKERY_SYNC_LOG.pid.undo, so that a write that was not completed, or was a lie, can be taken back.
 * Names hold neither blanks nor line ends here.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

struct text {
  char *bytes;
  size_t length, room;
};

static void add(struct text *text, const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  char piece[512];
  int size = vsnprintf(piece, sizeof piece, format, arguments);
  va_end(arguments);
  if (size < 0 || (size_t)size >= sizeof piece)
    abort();
  if (text->length + size > text->room) {
    text->room = (text->length + size) * 2;
    text->bytes = realloc(text->bytes, text->room);
    if (!text->bytes)
      abort();
  }
  memcpy(text->bytes + text->length, piece, size);
  text->length += size;
}

/* One write for the whole line, so that lines of several threads never mix. */
static void record(struct text *text) {
  const char *name = getenv("ROOKERY_SYNC_LOG");
  char path[4096];
  if (name && (size_t)snprintf(path, sizeof path, "%s.%d", name, (int)getpid()) < sizeof path) {
    int fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (fd < 0 || write(fd, text->bytes, text->length) != (ssize_t)text->length)
      abort();
    close(fd);
  }
  free(text->bytes);
}

static void describe_folder(int fd, const struct stat *about, struct text *text) {
  int again = openat(fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  DIR *folder = again < 0 ? NULL : fdopendir(again);
  if (!folder)
    abort();
  add(text, "D %ju %ju", (uintmax_t)about->st_dev, (uintmax_t)about->st_ino);
  for (struct dirent *entry; (entry = readdir(folder));)
    if (strcmp(entry->d_name, ".") && strcmp(entry->d_name, ".."))
      add(text, " %ju/%s", (uintmax_t)entry->d_ino, entry->d_name);
  closedir(folder);
  add(text, "\n");
}

static int witness(int fd, const char *call) {
  const char *lie = getenv("ROOKERY_SYNC_LIE");
  if (lie && access(lie, F_OK) == 0)
    return 0;
  /* Described before: what is written during the sync may not be part of it. */
  struct stat about;
  struct text text = {0};
  int known = fstat(fd, &about) == 0;
  if (known && S_ISDIR(about.st_mode))
    describe_folder(fd, &about, &text);
  else if (known && S_ISREG(about.st_mode))
    add(&text, "F %ju %ju %jd\n", (uintmax_t)about.st_dev, (uintmax_t)about.st_ino, (intmax_t)about.st_size);
  else
    known = 0;
  const char *delay = getenv("ROOKERY_SYNC_DELAY");
  if (delay)
    usleep((useconds_t)atoi(delay));
  int (*real)(int) = (int (*)(int))dlsym(RTLD_NEXT, call);
  int result = real(fd), error = errno;
  if (result == 0 && known)
    record(&text);
  else
    free(text.bytes);
  errno = error;
  return result;
}

int fsync(int fd) { return witness(fd, "fsync"); }
int fdatasync(int fd) { return witness(fd, "fdatasync"); }

static void forget(const char *path) {
  int error = errno;
  struct stat about;
  if (lstat(path, &about) == 0 && S_ISREG(about.st_mode) && about.st_nlink == 1) {
    struct text text = {0};
    add(&text, "U %ju %ju\n", (uintmax_t)about.st_dev, (uintmax_t)about.st_ino);
    record(&text);
  }
  errno = error;
}

int unlink(const char *path) {
  forget(path);
  return ((int (*)(const char *))dlsym(RTLD_NEXT, "unlink"))(path);
}

/* Descriptors with O_DSYNC are written by one thread; should there be more, they wait for each other. */
static pthread_mutex_t writing = PTHREAD_MUTEX_INITIALIZER;
static off_t undo_end;

static int lies(void) {
  const char *lie = getenv("ROOKERY_SYNC_LIE");
  return lie && access(lie, F_OK) == 0;
}

/* Keeps what a write is about to overwrite. */
static void keep(int fd, const struct stat *about, size_t size, off_t at) {
  const char *name = getenv("ROOKERY_SYNC_LOG");
  char path[4096], self[64];
  if (!name || at >= about->st_size ||
      (size_t)snprintf(path, sizeof path, "%s.%d.undo", name, (int)getpid()) >= sizeof path)
    return;
  snprintf(self, sizeof self, "/proc/self/fd/%d", fd);
  char *bytes = malloc(size);
  int from = open(self, O_RDONLY | O_CLOEXEC);
  int to = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
  ssize_t (*real)(int, const void *, size_t, off_t) =
      (ssize_t(*)(int, const void *, size_t, off_t))dlsym(RTLD_NEXT, "pwrite");
  ssize_t held = bytes && from >= 0 ? pread(from, bytes, size, at) : -1;
  if (held < 0 || to < 0 || real(to, bytes, held, undo_end) != held)
    abort();
  close(from);
  close(to);
  free(bytes);
  struct text text = {0};
  add(&text, "O %ju %ju %jd %zd %jd\n", (uintmax_t)about->st_dev, (uintmax_t)about->st_ino, (intmax_t)at, held,
      (intmax_t)undo_end);
  record(&text);
  undo_end += held;
}

/* Whether a write to the descriptor is durable when it returns. */
static int syncs(int fd, struct stat *about) {
  int flags = fcntl(fd, F_GETFL);
  return flags >= 0 && (flags & O_DSYNC) && fstat(fd, about) == 0 && S_ISREG(about->st_mode);
}

static void wrote(const struct stat *about, ssize_t size, intmax_t at) {
  const char *delay = getenv("ROOKERY_SYNC_DELAY");
  if (delay)
    usleep((useconds_t)atoi(delay));
  struct text text = {0};
  add(&text, "W %ju %ju %jd %zd\n", (uintmax_t)about->st_dev, (uintmax_t)about->st_ino, at, size);
  record(&text);
}

static ssize_t at_end(int fd, ssize_t size) {
  int error = errno;
  struct stat about;
  if (size > 0 && syncs(fd, &about) && !lies())
    wrote(&about, size, (intmax_t)lseek(fd, 0, SEEK_CUR) - size);
  errno = error;
  return size;
}

static size_t total(const struct iovec *parts, int count) {
  size_t size = 0;
  for (int part = 0; part < count; part++)
    size += parts[part].iov_len;
  return size;
}

#define REAL(name, parameters)                                                                                        \
  static ssize_t(*next) parameters;                                                                                   \
  if (!next)                                                                                                          \
    next = (ssize_t(*) parameters)dlsym(RTLD_NEXT, #name);

#define AT_END(name, parameters, arguments)                                                                           \
  ssize_t name parameters {                                                                                           \
    REAL(name, parameters)                                                                                            \
    return at_end(fd, next arguments);                                                                                \
  }

#define IN_PLACE(name, parameters, arguments, length)                                                                 \
  ssize_t name parameters {                                                                                           \
    REAL(name, parameters)                                                                                            \
    struct stat about;                                                                                                \
    if (!syncs(fd, &about))                                                                                           \
      return next arguments;                                                                                          \
    pthread_mutex_lock(&writing);                                                                                     \
    keep(fd, &about, length, at);                                                                                     \
    ssize_t size = next arguments;                                                                                    \
    int error = errno;                                                                                                \
    if (size > 0 && !lies())                                                                                          \
      wrote(&about, size, at);                                                                                        \
    pthread_mutex_unlock(&writing);                                                                                   \
    errno = error;                                                                                                    \
    return size;                                                                                                      \
  }

AT_END(write, (int fd, const void *bytes, size_t size), (fd, bytes, size))
AT_END(writev, (int fd, const struct iovec *parts, int count), (fd, parts, count))
IN_PLACE(pwrite, (int fd, const void *bytes, size_t size_, off_t at), (fd, bytes, size_, at), size_)
IN_PLACE(pwrite64, (int fd, const void *bytes, size_t size_, off64_t at), (fd, bytes, size_, at), size_)
IN_PLACE(pwritev, (int fd, const struct iovec *parts, int count, off_t at), (fd, parts, count, at), total(parts, count))
IN_PLACE(pwritev64, (int fd, const struct iovec *parts, int count, off64_t at), (fd, parts, count, at),
         total(parts, count))

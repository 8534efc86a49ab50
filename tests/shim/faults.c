/*
 * A slow disk and a wrong clock, loaded into a node with LD_PRELOAD and steered while it runs.
 *
 * ROOKERY_FAULT_CONTROL  a folder; a process that was given `--config …/NODE/rookery.toml` maps the file NODE in it, whose
 *                        layout is `struct control`. Without the variable or the file everything is as it is.
 *
 * Clocks: CLOCK_REALTIME and the monotonic clocks are shifted and run at another rate. Waits until an absolute time are
 * translated back, so that the kernel, which knows nothing of the shift, wakes the waiter when it meant. Relative waits
 * are left alone. Disks: a delay before each fsync and fdatasync, and before each write to a descriptor with O_DSYNC; or an
 * error instead of them.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

/* Little-endian 64-bit words. `generation` is odd while the others are being written. */
struct control {
  volatile uint64_t generation;
  volatile int64_t base;      /* the real monotonic time from which on the rate counts, in nanoseconds */
  volatile int64_t monotonic; /* nanoseconds ahead */
  volatile int64_t realtime;  /* nanoseconds ahead */
  volatile int64_t rate;      /* parts per million too fast */
  volatile uint64_t sync_delay;  /* microseconds */
  volatile uint64_t write_delay; /* microseconds */
  volatile uint64_t sync_error;  /* errno of each sync; 0: none */
  volatile uint64_t write_error; /* errno of each write to a descriptor with O_DSYNC; 0: none */
};

#define SECOND 1000000000LL

static const struct control *control;

static int (*real_clock_gettime)(clockid_t, struct timespec *);
static long (*real_syscall)(long, ...);

static void *real(const char *name) { return dlsym(RTLD_NEXT, name); }

/* The node's id: the folder of the file after `--config`. */
static int node_id(char *id, size_t room) {
  char line[8192];
  int fd = open("/proc/self/cmdline", O_RDONLY | O_CLOEXEC);
  ssize_t size = fd < 0 ? -1 : read(fd, line, sizeof line - 1);
  if (fd >= 0)
    close(fd);
  if (size <= 0)
    return 0;
  line[size] = 0;
  for (char *word = line; word < line + size; word += strlen(word) + 1) {
    if (strcmp(word, "--config"))
      continue;
    char *path = word + strlen(word) + 1;
    char *file = path < line + size ? strrchr(path, '/') : NULL;
    if (!file)
      return 0;
    *file = 0;
    char *folder = strrchr(path, '/');
    return (size_t)snprintf(id, room, "%s", folder ? folder + 1 : path) < room;
  }
  return 0;
}

__attribute__((constructor)) static void start(void) {
  real_clock_gettime = (int (*)(clockid_t, struct timespec *))real("clock_gettime");
  real_syscall = (long (*)(long, ...))real("syscall");
  const char *folder = getenv("ROOKERY_FAULT_CONTROL");
  char id[256], path[4096];
  if (!folder || !node_id(id, sizeof id) || (size_t)snprintf(path, sizeof path, "%s/%s", folder, id) >= sizeof path)
    return;
  int fd = open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0)
    return;
  void *mapped = mmap(NULL, sizeof(struct control), PROT_READ, MAP_SHARED, fd, 0);
  close(fd);
  if (mapped != MAP_FAILED)
    control = mapped;
}

static int is_monotonic(clockid_t id) {
  return id == CLOCK_MONOTONIC || id == CLOCK_MONOTONIC_COARSE || id == CLOCK_MONOTONIC_RAW || id == CLOCK_BOOTTIME;
}

static int is_realtime(clockid_t id) { return id == CLOCK_REALTIME || id == CLOCK_REALTIME_COARSE; }

/* How far a clock is ahead now. */
static int64_t shift(clockid_t id) {
  struct timespec now;
  real_clock_gettime(CLOCK_MONOTONIC, &now);
  int64_t at = now.tv_sec * SECOND + now.tv_nsec;
  for (;;) {
    uint64_t before = control->generation;
    __sync_synchronize();
    int64_t drift = (int64_t)((__int128)(at - control->base) * control->rate / 1000000);
    int64_t ahead = is_monotonic(id) ? control->monotonic : control->realtime;
    __sync_synchronize();
    if (!(before & 1) && control->generation == before)
      return ahead + drift;
  }
}

static struct timespec add(struct timespec time, int64_t nanoseconds) {
  int64_t sum = (int64_t)time.tv_sec * SECOND + time.tv_nsec + nanoseconds;
  if (sum < 0)
    sum = 0;
  return (struct timespec){.tv_sec = sum / SECOND, .tv_nsec = sum % SECOND};
}

int clock_gettime(clockid_t id, struct timespec *time) {
  if (!real_clock_gettime)
    return (int)syscall(SYS_clock_gettime, id, time);
  int result = real_clock_gettime(id, time);
  if (result == 0 && control && (is_monotonic(id) || is_realtime(id)))
    *time = add(*time, shift(id));
  return result;
}

int gettimeofday(struct timeval *time, void *zone) {
  (void)zone;
  struct timespec now;
  int result = clock_gettime(CLOCK_REALTIME, &now);
  if (result == 0)
    *time = (struct timeval){.tv_sec = now.tv_sec, .tv_usec = now.tv_nsec / 1000};
  return result;
}

time_t time(time_t *out) {
  struct timespec now;
  clock_gettime(CLOCK_REALTIME, &now);
  if (out)
    *out = now.tv_sec;
  return now.tv_sec;
}

/* What the kernel has to be told instead of an absolute time of a shifted clock. */
static struct timespec back(clockid_t id, const struct timespec *until) { return add(*until, -shift(id)); }

/* Which clock an absolute time is of when the caller does not say: no machine has been up since 2001. */
static clockid_t guess(const struct timespec *until) {
  return until->tv_sec > 1000000000 ? CLOCK_REALTIME : CLOCK_MONOTONIC;
}

int clock_nanosleep(clockid_t id, int flags, const struct timespec *until, struct timespec *left) {
  int (*next)(clockid_t, int, const struct timespec *, struct timespec *) = real("clock_nanosleep");
  if (!control || !(flags & TIMER_ABSTIME))
    return next(id, flags, until, left);
  struct timespec true_until = back(id, until);
  return next(id, flags, &true_until, left);
}

int pthread_cond_timedwait(pthread_cond_t *condition, pthread_mutex_t *mutex, const struct timespec *until) {
  static int (*next)(pthread_cond_t *, pthread_mutex_t *, const struct timespec *);
  if (!next) {
    /* On this architecture there is a version for programs of before 2003, which dlsym may give. */
    next = dlvsym(RTLD_NEXT, "pthread_cond_timedwait", "GLIBC_2.3.2");
    if (!next)
      next = real("pthread_cond_timedwait");
  }
  if (!control)
    return next(condition, mutex, until);
  struct timespec true_until = back(guess(until), until);
  return next(condition, mutex, &true_until);
}

int pthread_cond_clockwait(pthread_cond_t *condition, pthread_mutex_t *mutex, clockid_t id,
                           const struct timespec *until) {
  int (*next)(pthread_cond_t *, pthread_mutex_t *, clockid_t, const struct timespec *) = real("pthread_cond_clockwait");
  if (!control)
    return next(condition, mutex, id, until);
  struct timespec true_until = back(id, until);
  return next(condition, mutex, id, &true_until);
}

int sem_timedwait(sem_t *semaphore, const struct timespec *until) {
  int (*next)(sem_t *, const struct timespec *) = real("sem_timedwait");
  if (!control)
    return next(semaphore, until);
  struct timespec true_until = back(CLOCK_REALTIME, until);
  return next(semaphore, &true_until);
}

int sem_clockwait(sem_t *semaphore, clockid_t id, const struct timespec *until) {
  int (*next)(sem_t *, clockid_t, const struct timespec *) = real("sem_clockwait");
  if (!control)
    return next(semaphore, id, until);
  struct timespec true_until = back(id, until);
  return next(semaphore, id, &true_until);
}

/* Rust's standard library waits so: FUTEX_WAIT_BITSET takes an absolute time, FUTEX_WAIT a relative one. */
long syscall(long number, ...) {
  va_list arguments;
  va_start(arguments, number);
  long a[6];
  for (int at = 0; at < 6; at++)
    a[at] = va_arg(arguments, long);
  va_end(arguments);
  if (!real_syscall)
    real_syscall = (long (*)(long, ...))real("syscall");
  struct timespec true_until;
  if (control && number == SYS_futex && (a[1] & FUTEX_CMD_MASK) == FUTEX_WAIT_BITSET && a[3]) {
    clockid_t id = a[1] & FUTEX_CLOCK_REALTIME ? CLOCK_REALTIME : CLOCK_MONOTONIC;
    true_until = back(id, (const struct timespec *)a[3]);
    a[3] = (long)&true_until;
  }
  return real_syscall(number, a[0], a[1], a[2], a[3], a[4], a[5]);
}

static void linger(uint64_t microseconds) {
  int error = errno;
  struct timespec pause = {.tv_sec = (time_t)(microseconds / 1000000), .tv_nsec = (long)(microseconds % 1000000) * 1000};
  if (microseconds)
    nanosleep(&pause, NULL);
  errno = error;
}

/* Whether the call goes on to the system. */
static int before_sync(int fd) {
  (void)fd;
  if (!control)
    return 1;
  linger(control->sync_delay);
  if (control->sync_error)
    errno = (int)control->sync_error;
  return !control->sync_error;
}

static int before_write(int fd) {
  if (!control || (!control->write_delay && !control->write_error))
    return 1;
  int error = errno;
  int flags = fcntl(fd, F_GETFL);
  errno = error;
  if (flags < 0 || !(flags & O_DSYNC))
    return 1;
  linger(control->write_delay);
  if (control->write_error)
    errno = (int)control->write_error;
  return !control->write_error;
}

#define PASS(type, name, parameters, arguments, before)                                                               \
  type name parameters {                                                                                              \
    static type(*next) parameters;                                                                                    \
    if (!next)                                                                                                        \
      next = (type(*) parameters)real(#name);                                                                         \
    return before(fd) ? next arguments : -1;                                                                          \
  }

PASS(int, fsync, (int fd), (fd), before_sync)
PASS(int, fdatasync, (int fd), (fd), before_sync)
PASS(ssize_t, write, (int fd, const void *bytes, size_t size), (fd, bytes, size), before_write)
PASS(ssize_t, writev, (int fd, const struct iovec *parts, int count), (fd, parts, count), before_write)
PASS(ssize_t, pwrite, (int fd, const void *bytes, size_t size, off_t at), (fd, bytes, size, at), before_write)
PASS(ssize_t, pwrite64, (int fd, const void *bytes, size_t size, off64_t at), (fd, bytes, size, at), before_write)
PASS(ssize_t, pwritev, (int fd, const struct iovec *parts, int count, off_t at), (fd, parts, count, at), before_write)
PASS(ssize_t, pwritev64, (int fd, const struct iovec *parts, int count, off64_t at), (fd, parts, count, at), before_write)

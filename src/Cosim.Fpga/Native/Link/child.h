// SPDX-License-Identifier: Apache-2.0
// A simulator as a child process: maps the region it is given and exchanges requests and answers with its parent.
#ifndef COSIM_CHILD_H
#define COSIM_CHILD_H

#include "region.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

// The parent holds the other end of standard input. Its end means that the parent is gone, however it went; a death signal
// would come with the end of the parent's thread already.
static void *cosim_watch_parent(void *unused) {
  char byte;
  ssize_t got;
  do {
    got = read(0, &byte, 1);
  } while (got > 0 || (got < 0 && errno == EINTR));
  _exit(3);
  return unused;
}

// Maps the region named by COSIM_REGION. Ends the process with a message where that cannot be.
static struct cosim_region *cosim_attach(void) {
  const char *path = getenv("COSIM_REGION");
  int file = path ? open(path, O_RDWR | O_CLOEXEC) : -1;
  struct stat status;
  if (file < 0 || fstat(file, &status) != 0) {
    fprintf(stderr, "cosim link: cannot open the region %s: %s\n", path ? path : "(COSIM_REGION is not set)", strerror(errno));
    exit(2);
  }
  void *memory = mmap(NULL, (size_t)status.st_size, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
  close(file);
  struct cosim_region *region = (struct cosim_region *)memory;
  if (memory == MAP_FAILED || region->magic != COSIM_MAGIC || region->size != (uint64_t)status.st_size) {
    fprintf(stderr, "cosim link: %s is no region of this link\n", path);
    exit(2);
  }
  // Ctrl-C reaches the whole process group; when to end is for the parent to say.
  signal(SIGINT, SIG_IGN);
  pthread_t thread;
  if (pthread_create(&thread, NULL, cosim_watch_parent, NULL) != 0) {
    fprintf(stderr, "cosim link: no thread to watch the parent\n");
    exit(2);
  }
  return region;
}

static inline void cosim_relax(void) {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  __asm__ volatile("yield");
#endif
}

static inline int64_t cosim_nanoseconds(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

// Waits for the request after number `last`; gives its number. Spins for a time and then sleeps: guests share these cores. The
// time grows with each sleep that spinning could have saved and shrinks with each that it could not.
static uint32_t cosim_wait(struct cosim_region *r, uint32_t last) {
  enum { SHORTEST = 2000, LONGEST = 200000, CHECKS_PER_CLOCK = 16 }; // ns
  static int64_t spin = LONGEST / 8;
  uint32_t now;
  int64_t start = cosim_nanoseconds();
  do {
    for (int i = 0; i < CHECKS_PER_CLOCK; i++) {
      now = __atomic_load_n(&r->request, __ATOMIC_ACQUIRE);
      if (now != last) return now;
      cosim_relax();
    }
  } while (cosim_nanoseconds() - start < spin);
  __atomic_store_n(&r->request_sleeper, 1, __ATOMIC_SEQ_CST);
  while ((now = __atomic_load_n(&r->request, __ATOMIC_SEQ_CST)) == last)
    syscall(SYS_futex, &r->request, FUTEX_WAIT, last, NULL, NULL, 0);
  __atomic_store_n(&r->request_sleeper, 0, __ATOMIC_RELAXED);
  bool brief = cosim_nanoseconds() - start <= LONGEST;
  if (brief && spin < LONGEST) spin *= 2;
  if (!brief && spin > SHORTEST) spin /= 2;
  return now;
}

static void cosim_post(struct cosim_region *r, uint32_t number) {
  __atomic_store_n(&r->answer, number, __ATOMIC_SEQ_CST);
  if (__atomic_load_n(&r->answer_sleeper, __ATOMIC_SEQ_CST)) syscall(SYS_futex, &r->answer, FUTEX_WAKE, 1, NULL, NULL, 0);
}

#endif

// SPDX-License-Identifier: Apache-2.0
// Makes one request after the other to a disk, past the cache, and prints the nanoseconds that all took.
//   block_requests DEVICE read|write BYTES COUNT
// It has no C library, so that it is small enough to be typed into a guest: gcc -O2 -static -nostdlib -ffreestanding.
// busybox's dd will not do: its buffer is not aligned, and it then goes through the cache without a word.
#include <asm/unistd.h>
#include <fcntl.h>
#include <stdint.h>
#include <time.h>

enum { DIRECT = 040000, MAX_BYTES = 1 << 20 };

static uint8_t buffer[MAX_BYTES] __attribute__((aligned(4096)));

static long system_call(long number, long a, long b, long c, long d) {
  register long r10 __asm__("r10") = d;
  long result;
  __asm__ volatile("syscall" : "=a"(result) : "a"(number), "D"(a), "S"(b), "d"(c), "r"(r10) : "rcx", "r11", "memory");
  return result;
}

static uint64_t now(void) {
  struct timespec t;
  system_call(__NR_clock_gettime, CLOCK_MONOTONIC, (long)&t, 0, 0);
  return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static long number(const char *text) {
  long value = 0;
  while (*text) value = 10 * value + (*text++ - '0');
  return value;
}

static long run(char **argument) {
  int write = argument[2][0] == 'w';
  long bytes = number(argument[3]), count = number(argument[4]);
  long disk = system_call(__NR_open, (long)argument[1], (write ? O_WRONLY : O_RDONLY) | DIRECT, 0, 0);
  if (disk < 0 || bytes > MAX_BYTES) return 1;
  uint64_t begin = now();
  for (long i = 0; i < count; i++)
    if (system_call(write ? __NR_pwrite64 : __NR_pread64, disk, (long)buffer, bytes, i * bytes) != bytes) return 1;
  uint64_t took = now() - begin;
  char digits[24];
  int at = sizeof digits;
  digits[--at] = '\n';
  do digits[--at] = (char)('0' + took % 10);
  while (took /= 10);
  system_call(__NR_write, 1, (long)(digits + at), sizeof digits - at, 0);
  return 0;
}

__attribute__((used)) _Noreturn void begin(long *stack) {
  system_call(__NR_exit, stack[0] == 5 ? run((char **)(stack + 1)) : 2, 0, 0, 0);
  __builtin_unreachable();
}

__asm__(".globl _start\n_start:\n  mov %rsp, %rdi\n  and $-16, %rsp\n  call begin\n");

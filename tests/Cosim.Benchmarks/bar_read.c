// SPDX-License-Identifier: Apache-2.0
// Round trips of vfio-user region reads.
//   bar_read pin CORE PROGRAM ARG…                 runs a program on one core
//   bar_read serve SOCKET DESCRIPTORS              answers each message at once, waiting in poll on that many descriptors
//   bar_read measure REGION ROUNDS READS A B       reads from the servers at sockets A and B in turn: READS times each,
//                                                  ROUNDS times; one line a round with both medians in nanoseconds
#define _GNU_SOURCE
#include <poll.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

enum { VERSION = 1, REGION_READ = 9, REGION_WRITE = 10, CONFIG_REGION = 7, REPLY = 1, HEADER = 16, ACCESS = 16, MAX_MESSAGE = 4096, MAX_DESCRIPTORS = 64 };

struct header {
  uint16_t id, command;
  uint32_t size, flags, error;
};

struct access {
  uint64_t offset;
  uint32_t region, count;
};

static _Noreturn void fail(const char *what) {
  perror(what);
  exit(1);
}

static struct sockaddr_un address_of(const char *path) {
  struct sockaddr_un address = {.sun_family = AF_UNIX};
  if (strlen(path) >= sizeof address.sun_path) {
    fprintf(stderr, "%s is too long for a socket\n", path);
    exit(1);
  }
  strcpy(address.sun_path, path);
  return address;
}

static void receive_all(int socket, uint8_t *bytes, size_t size) {
  for (size_t have = 0; have < size;) {
    ssize_t got = recv(socket, bytes + have, size - have, 0);
    if (got <= 0) fail("recv");
    have += (size_t)got;
  }
}

static uint32_t receive_message(int socket, uint8_t *message) {
  receive_all(socket, message, HEADER);
  struct header h;
  memcpy(&h, message, sizeof h);
  if (h.size < HEADER || h.size > MAX_MESSAGE || h.error) {
    fprintf(stderr, "message of %u bytes with error %u\n", h.size, h.error);
    exit(1);
  }
  receive_all(socket, message + HEADER, h.size - HEADER);
  return h.size;
}

static void send_message(int socket, const uint8_t *message, uint32_t size) {
  if (send(socket, message, size, MSG_NOSIGNAL) != (ssize_t)size) fail("send");
}

static int serve(const char *path, int count) {
  static struct pollfd descriptors[MAX_DESCRIPTORS];
  struct sockaddr_un address = address_of(path);
  int listener = socket(AF_UNIX, SOCK_STREAM, 0);
  if (bind(listener, (struct sockaddr *)&address, sizeof address) || listen(listener, 1)) fail(path);
  puts("ready");
  fflush(stdout);
  int client = accept(listener, NULL, NULL);
  if (client < 0) fail("accept");
  // The client last, as one who came after the others.
  for (int i = 0; i < count; i++) {
    descriptors[i].fd = i == count - 1 ? client : i == 0 ? listener : eventfd(0, 0);
    descriptors[i].events = POLLIN;
  }
  static uint8_t message[MAX_MESSAGE];
  for (;;) {
    if (poll(descriptors, (nfds_t)count, -1) < 0) fail("poll");
    struct iovec part = {message, sizeof message};
    union {
      struct cmsghdr header;
      uint8_t room[CMSG_SPACE(16 * sizeof(int))];
    } control;
    struct msghdr incoming = {.msg_iov = &part, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control};
    ssize_t size = recvmsg(client, &incoming, MSG_DONTWAIT);
    if (size <= 0) return 0; // the client has gone
    struct header h;
    memcpy(&h, message, sizeof h);
    h.flags = REPLY;
    h.size = (uint32_t)size;
    if (h.command == REGION_READ) {
      struct access a;
      memcpy(&a, message + HEADER, sizeof a);
      h.size = HEADER + ACCESS + a.count;
      memset(message + HEADER + ACCESS, 0x5A, a.count);
    }
    memcpy(message, &h, sizeof h);
    send_message(client, message, h.size);
  }
}

static void write_config(int server, uint64_t offset, uint32_t value) {
  static uint8_t message[MAX_MESSAGE];
  struct header h = {2, REGION_WRITE, HEADER + ACCESS + sizeof value, 0, 0};
  struct access a = {offset, CONFIG_REGION, sizeof value};
  memcpy(message, &h, sizeof h);
  memcpy(message + HEADER, &a, sizeof a);
  memcpy(message + HEADER + ACCESS, &value, sizeof value);
  send_message(server, message, h.size);
  receive_message(server, message);
}

// Does what a guest has done before it reads a register: gives the BAR an address and turns Memory Space on.
static int attach(const char *path, uint32_t region) {
  static uint8_t message[MAX_MESSAGE];
  static const char capabilities[] =
      "{\"capabilities\":{\"max_msg_fds\":16,\"max_data_xfer_size\":1048576,\"pgsizes\":4096,\"max_dma_maps\":65535,"
      "\"migration\":{\"pgsize\":4096},\"write_multiple\":true}}";
  struct sockaddr_un address = address_of(path);
  int server = socket(AF_UNIX, SOCK_STREAM, 0);
  if (connect(server, (struct sockaddr *)&address, sizeof address)) fail(path);
  // Major and minor version are 0; the text ends in a NUL.
  struct header h = {1, VERSION, HEADER + 4 + sizeof capabilities, 0, 0};
  memcpy(message, &h, sizeof h);
  memset(message + HEADER, 0, 4);
  memcpy(message + HEADER + 4, capabilities, sizeof capabilities);
  send_message(server, message, h.size);
  receive_message(server, message);
  write_config(server, 0x10 + 4 * region, 0xE0000000u);
  write_config(server, 0x04, 0x0002);
  return server;
}

static int compare(const void *a, const void *b) {
  uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
  return x < y ? -1 : x > y;
}

static uint64_t median_read(int server, uint32_t region, size_t reads, uint64_t *times) {
  static uint8_t message[MAX_MESSAGE];
  for (size_t i = 0; i < reads; i++) {
    struct header h = {(uint16_t)i, REGION_READ, HEADER + ACCESS, 0, 0};
    struct access a = {0, region, 4};
    struct timespec begin, end;
    memcpy(message, &h, sizeof h);
    memcpy(message + HEADER, &a, sizeof a);
    clock_gettime(CLOCK_MONOTONIC, &begin);
    send_message(server, message, h.size);
    uint32_t size = receive_message(server, message);
    clock_gettime(CLOCK_MONOTONIC, &end);
    uint32_t value;
    memcpy(&value, message + HEADER + ACCESS, sizeof value);
    if (size != HEADER + ACCESS + 4 || value == UINT32_MAX) {
      fprintf(stderr, "the read was answered by %u bytes, value 0x%08X\n", size, value);
      exit(1);
    }
    times[i] = (uint64_t)(end.tv_sec - begin.tv_sec) * 1000000000u + (uint64_t)end.tv_nsec - (uint64_t)begin.tv_nsec;
  }
  qsort(times, reads, sizeof *times, compare);
  return times[reads / 2];
}

static int measure(uint32_t region, int rounds, size_t reads, const char *first, const char *second) {
  int a = attach(first, region), b = attach(second, region);
  uint64_t *times = malloc((reads > 20000 ? reads : 20000) * sizeof *times);
  // Until the compiler behind a server has done with what it will see.
  for (int i = 0; i < 10; i++) {
    median_read(a, region, 20000, times);
    median_read(b, region, 20000, times);
  }
  for (int i = 0; i < rounds; i++) {
    uint64_t of_a = median_read(a, region, reads, times);
    uint64_t of_b = median_read(b, region, reads, times);
    printf("%llu %llu\n", (unsigned long long)of_a, (unsigned long long)of_b);
  }
  return 0;
}

int main(int argc, char **argv) {
  if (argc >= 4 && !strcmp(argv[1], "pin")) {
    cpu_set_t core;
    CPU_ZERO(&core);
    CPU_SET(atoi(argv[2]), &core);
    if (sched_setaffinity(0, sizeof core, &core)) fail("sched_setaffinity");
    execvp(argv[3], argv + 3);
    fail(argv[3]);
  }
  if (argc == 4 && !strcmp(argv[1], "serve")) {
    int count = atoi(argv[3]);
    if (count >= 2 && count <= MAX_DESCRIPTORS) return serve(argv[2], count);
  }
  if (argc == 7 && !strcmp(argv[1], "measure"))
    return measure((uint32_t)atoi(argv[2]), atoi(argv[3]), (size_t)atoi(argv[4]), argv[5], argv[6]);
  fprintf(stderr, "usage: see the head of bar_read.c\n");
  return 2;
}

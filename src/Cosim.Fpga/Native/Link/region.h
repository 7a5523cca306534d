// SPDX-License-Identifier: Apache-2.0
// The memory between the C# side and a simulator. Both sides alternate: while a request is not answered the memory is the
// simulator's, otherwise it is C#'s. LinkRegion.cs holds the same offsets.
#ifndef COSIM_REGION_H
#define COSIM_REGION_H

#include <stddef.h>
#include <stdint.h>

#define COSIM_MAGIC 0x4E4C4B31u
#define COSIM_PORTS 3

#ifdef __cplusplus
#define COSIM_ASSERT static_assert
#else
#define COSIM_ASSERT _Static_assert
#endif

enum { COSIM_RUN = 1, COSIM_RESET = 2, COSIM_QUIT = 3 };
enum { COSIM_IDLE = 0, COSIM_OUTPUT = 1, COSIM_LIMIT = 2, COSIM_FAILED = 3 };

struct cosim_region {
  // Fixed for the life of the simulator.
  uint32_t magic;
  uint32_t size;            // bytes of the whole region
  uint32_t ports;           // 1..3
  uint32_t idle_cycles;     // 0: the design has busy_o
  uint32_t input_offset;    // of the packets for the FPGA
  uint32_t output_offset;   // of the packets from it, up to the end of the region
  uint32_t rx_pause;        // of 256 cycles, how many the link pauses between beats (0: none)
  uint32_t tx_pause;        // of 256 cycles, how many the link is not ready (0: none)
  uint64_t pause_seed;
  uint64_t first_cycle;     // number of the simulator's first cycle
  uint8_t pad0[16];

  // The request, written by C#.
  uint32_t request;         // at 64: number of the request; futex
  uint32_t request_sleeper; // 1 while the simulator sleeps on it
  uint32_t command;
  uint32_t input_bytes;
  uint64_t max_cycles;
  uint32_t lookahead;
  uint8_t pad1[36];

  // The answer, written by the simulator.
  uint32_t answer;          // at 128: number of the request that is answered; futex
  uint32_t answer_sleeper;  // 1 while C# sleeps on it
  uint32_t result;
  uint32_t output_bytes;
  uint64_t cycle;           // cycles run
  uint8_t pad2[40];

  uint64_t progress;        // at 192: cycles run, kept up to date while a request is served
  uint8_t pad3[56];
  char failure[768];        // at 256: UTF-8, ended by 0
};

// A packet in either area; the next one follows at a multiple of 8.
struct cosim_record {
  uint32_t size; // bytes that follow
  uint32_t port;
  uint64_t cycle; // input: not before; output: cycle of the last beat
};

COSIM_ASSERT(offsetof(struct cosim_region, request) == 64, "layout");
COSIM_ASSERT(offsetof(struct cosim_region, answer) == 128, "layout");
COSIM_ASSERT(offsetof(struct cosim_region, progress) == 192, "layout");
COSIM_ASSERT(sizeof(struct cosim_region) == 1024, "layout");

#endif

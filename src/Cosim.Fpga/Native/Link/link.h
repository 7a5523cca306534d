// SPDX-License-Identifier: Apache-2.0
// The per-clock work of both simulators: offers packets to the FPGA's streams beat by beat, gathers what comes out of them,
// and knows when a run is over. Pins, beats and packets are those of hdl/CONTRACT.md, sections 1 and 2.
#ifndef COSIM_LINK_H
#define COSIM_LINK_H

#include "region.h"

#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define COSIM_BEAT 32             // bytes of a beat
#define COSIM_MAX_PACKET (32 + 4096)
#define COSIM_RESET_CYCLES 8

struct cosim_packet {
  struct cosim_packet *next;
  uint64_t not_before;
  uint32_t size;
  uint32_t large;
  uint8_t bytes[];
};

struct cosim_port {
  // Into the FPGA. The packet being offered has left the queue, so that nothing overtakes it.
  struct cosim_packet *current;
  struct cosim_packet *queue; // by not_before, then in the order given
  struct cosim_packet *tail;
  uint32_t offered;           // bytes of current up to the end of the beat on the pins
  bool rx_valid;
  bool rx_last;
  bool rx_new;                // the beat on the pins differs from the last cycle's
  uint8_t rx_keep;
  uint32_t rx_data[COSIM_BEAT / 4];
  // Out of the FPGA.
  bool tx_ready;
  uint32_t filled;            // bytes gathered of the packet under way
  uint8_t packet[COSIM_MAX_PACKET];
};

struct cosim_link {
  struct cosim_region *region;
  uint64_t cycle;       // the cycle whose inputs are on the pins
  uint64_t stop;        // the run ends before this cycle
  uint64_t quiet;       // cycles since the last traffic on any pin
  uint32_t output_bytes;
  uint32_t output_limit;
  uint32_t reset;       // cycles of reset that are left
  uint32_t queued;      // packets that wait or are being offered
  bool idle;
  bool failed;
  bool traffic;         // a valid was seen in this cycle
  struct cosim_packet *spare[2];
  struct cosim_port port[COSIM_PORTS];
};

static void cosim_fail(struct cosim_link *l, const char *format, ...) {
  if (l->failed) return; // the first cause counts
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(l->region->failure, sizeof l->region->failure, format, arguments);
  va_end(arguments);
  l->failed = true;
}

static struct cosim_link *cosim_link_make(struct cosim_region *region) {
  struct cosim_link *l = (struct cosim_link *)calloc(1, sizeof *l);
  l->region = region;
  l->cycle = region->first_cycle;
  // A cycle can end one packet per port; a run ends while they still have room.
  l->output_limit = region->size - region->output_offset - COSIM_PORTS * (uint32_t)(sizeof(struct cosim_record) + COSIM_MAX_PACKET);
  return l;
}

// Packets are kept for reuse in two sizes; nothing is allocated once a bridge has reached its depth.
static inline struct cosim_packet *cosim_packet_take(struct cosim_link *l, uint32_t size) {
  uint32_t large = size > 32 + 256;
  struct cosim_packet *k = l->spare[large];
  if (k) {
    l->spare[large] = k->next;
  } else {
    k = (struct cosim_packet *)malloc(sizeof *k + (large ? COSIM_MAX_PACKET : 32 + 256) + COSIM_BEAT);
    if (!k) abort();
    k->large = large;
  }
  k->size = size;
  return k;
}

static inline void cosim_packet_free(struct cosim_link *l, struct cosim_packet *k) {
  k->next = l->spare[k->large];
  l->spare[k->large] = k;
}

static inline void cosim_free_list(struct cosim_packet *k) {
  while (k) {
    struct cosim_packet *next = k->next;
    free(k);
    k = next;
  }
}

// Drops all packets around the FPGA.
static void cosim_link_clear(struct cosim_link *l) {
  for (uint32_t n = 0; n < COSIM_PORTS; n++) {
    struct cosim_port *p = &l->port[n];
    if (p->current) cosim_packet_free(l, p->current);
    for (struct cosim_packet *k = p->queue, *next; k; k = next) {
      next = k->next;
      cosim_packet_free(l, k);
    }
    p->current = p->queue = p->tail = NULL;
    p->rx_valid = p->tx_ready = false;
    p->filled = 0;
  }
  l->queued = 0;
  l->quiet = 0;
  l->idle = false;
  l->traffic = false;
}

static inline void cosim_link_free(struct cosim_link *l) {
  cosim_link_clear(l);
  cosim_free_list(l->spare[0]);
  cosim_free_list(l->spare[1]);
  free(l);
}

// Moves the packets of a request into the queues. One that is due already counts as due now, so that the order does not
// depend on when in the past it became due.
static void cosim_take_inputs(struct cosim_link *l) {
  const uint8_t *at = (const uint8_t *)l->region + l->region->input_offset;
  const uint8_t *end = at + l->region->input_bytes;
  while (at < end) {
    struct cosim_record r;
    memcpy(&r, at, sizeof r);
    struct cosim_packet *k = cosim_packet_take(l, r.size);
    memcpy(k->bytes, at + sizeof r, r.size);
    k->not_before = r.cycle > l->cycle ? r.cycle : l->cycle;
    struct cosim_port *p = &l->port[r.port];
    struct cosim_packet **where = &p->queue;
    if (p->tail && p->queue && k->not_before >= p->tail->not_before) where = &p->tail->next;
    while (*where && (*where)->not_before <= k->not_before) where = &(*where)->next;
    k->next = *where;
    *where = k;
    if (!k->next) p->tail = k;
    l->queued++;
    at += (sizeof r + r.size + 7) & ~(size_t)7;
  }
  l->region->input_bytes = 0;
}

static void cosim_answer(struct cosim_link *l) {
  struct cosim_region *r = l->region;
  r->result = l->failed ? COSIM_FAILED : l->output_bytes ? COSIM_OUTPUT : l->idle && !l->queued ? COSIM_IDLE : COSIM_LIMIT;
  r->output_bytes = l->output_bytes;
  r->cycle = l->cycle;
}

// Takes the request in the region. True: cycles are to be run; false: the answer is written already.
static bool cosim_accept(struct cosim_link *l) {
  struct cosim_region *r = l->region;
  l->output_bytes = 0;
  if (r->command == COSIM_RESET) {
    cosim_link_clear(l);
    r->input_bytes = 0;
    l->reset = COSIM_RESET_CYCLES;
    l->stop = l->cycle + COSIM_RESET_CYCLES;
    return true;
  }
  cosim_take_inputs(l);
  uint64_t stop = l->cycle + r->max_cycles;
  l->stop = stop < l->cycle ? UINT64_MAX : stop;
  if (l->failed || (l->idle && !l->queued) || !r->max_cycles) {
    cosim_answer(l);
    return false;
  }
  l->idle = false;
  return true;
}

// True in a fixed, random looking choice of cycles: `share` of 256.
static inline bool cosim_pause(const struct cosim_link *l, uint32_t lane, uint32_t share) {
  uint64_t x = l->region->pause_seed + (l->cycle * 2 * COSIM_PORTS + lane + 1) * 0x9E3779B97F4A7C15u;
  x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9u;
  x = (x ^ (x >> 27)) * 0x94D049BB133111EBu;
  return ((x >> 56) & 255) < share;
}

static void cosim_next_beat(struct cosim_port *p, bool management) {
  struct cosim_packet *k = p->current;
  uint32_t header = management ? 32 : 16;
  uint32_t from = p->offered, bytes;
  if (from == 0) {
    bool three = !management && !(k->bytes[3] & 0x20); // Fmt bit 0: a header of 4 DWs
    p->rx_keep = management ? 0xFF : three ? 0x07 : 0x0F;
    bytes = header;
  } else {
    bytes = k->size - from < COSIM_BEAT ? k->size - from : COSIM_BEAT;
    p->rx_keep = (uint8_t)((1u << (bytes / 4)) - 1);
  }
  memset(p->rx_data, 0, sizeof p->rx_data);
  memcpy(p->rx_data, k->bytes + from, bytes);
  p->offered = from + bytes;
  p->rx_last = p->offered == k->size;
  p->rx_valid = true;
  p->rx_new = true;
}

// Chooses the inputs of the cycle that comes.
static inline void cosim_drive(struct cosim_link *l) {
  const struct cosim_region *r = l->region;
  for (uint32_t n = 0; n < r->ports; n++) {
    struct cosim_port *p = &l->port[n];
    p->rx_new = false;
    p->tx_ready = !l->reset && !(r->tx_pause && cosim_pause(l, 2 * n, r->tx_pause));
    if (p->rx_valid || l->reset) continue;
    if (!p->current) {
      if (!p->queue || p->queue->not_before > l->cycle) continue;
      if (r->rx_pause && cosim_pause(l, 2 * n + 1, r->rx_pause)) continue;
      p->current = p->queue;
      p->queue = p->current->next;
      if (!p->queue) p->tail = NULL;
      p->offered = 0;
    } else if (r->rx_pause && cosim_pause(l, 2 * n + 1, r->rx_pause)) {
      continue;
    }
    cosim_next_beat(p, n == 2);
  }
}

// A beat that leaves the FPGA: valid and ready are both 1.
static void cosim_take_beat(struct cosim_link *l, uint32_t n, uint32_t keep, bool last, const uint32_t *data) {
  struct cosim_port *p = &l->port[n];
  if (l->reset) return;
  if (p->filled == 0) {
    if (n == 2 ? keep != 0xFF : keep != 0x07 && keep != 0x0F) {
      cosim_fail(l, "p%u_tx_keep_o is 0x%02X on the header beat in cycle %llu; expected %s", n, keep,
                 (unsigned long long)l->cycle, n == 2 ? "0xFF" : "0x07 or 0x0F");
      return;
    }
    if (n != 2 && ((data[0] >> 29) & 1) != (keep == 0x0F)) {
      cosim_fail(l, "p%u_tx_keep_o is 0x%02X on a header beat whose Fmt is %u in cycle %llu", n, keep, data[0] >> 29,
                 (unsigned long long)l->cycle);
      return;
    }
    p->filled = n == 2 ? 32 : 16;
    memcpy(p->packet, data, p->filled);
    if (keep == 0x07) memset(p->packet + 12, 0, 4);
  } else {
    if (keep == 0 || (keep & (keep + 1)) != 0 || (!last && keep != 0xFF)) {
      cosim_fail(l, "p%u_tx_keep_o is 0x%02X on %s in cycle %llu; expected ones from bit 0 on%s", n, keep,
                 last ? "the last beat" : "a payload beat", (unsigned long long)l->cycle, last ? "" : ", all of them");
      return;
    }
    if (p->filled + COSIM_BEAT > (n == 2 ? 32u : 16u) + 4096u) {
      cosim_fail(l, "the packet on p%u_tx is longer than 4096 bytes of payload in cycle %llu", n, (unsigned long long)l->cycle);
      return;
    }
    memcpy(p->packet + p->filled, data, COSIM_BEAT);
    p->filled += 4 * (uint32_t)__builtin_popcount(keep);
  }
  if (!last) return;
  struct cosim_record r = {p->filled, n, l->cycle};
  uint8_t *at = (uint8_t *)l->region + l->region->output_offset + l->output_bytes;
  memcpy(at, &r, sizeof r);
  memcpy(at + sizeof r, p->packet, p->filled);
  if (l->output_bytes == 0) {
    uint64_t stop = l->cycle + (l->region->lookahead ? l->region->lookahead : 1);
    if (stop < l->stop) l->stop = stop;
  }
  l->output_bytes += (uint32_t)((sizeof r + p->filled + 7) & ~(size_t)7);
  p->filled = 0;
}

// The handshake of one port in the cycle that ends; a beat that left has been given to cosim_take_beat before.
static inline void cosim_handshake(struct cosim_link *l, uint32_t n, bool rx_ready, bool tx_valid) {
  struct cosim_port *p = &l->port[n];
  l->traffic |= p->rx_valid | tx_valid | (p->filled != 0);
  if (p->rx_valid && rx_ready) {
    p->rx_valid = false;
    if (p->rx_last) {
      cosim_packet_free(l, p->current);
      p->current = NULL;
      l->queued--;
    }
  }
}

// The cycle is over. True: the next one is to be run; false: the run is over and its answer written.
static inline bool cosim_next_cycle(struct cosim_link *l, bool busy) {
  l->region->progress = ++l->cycle;
  if (l->reset) {
    l->traffic = false;
    if (--l->reset) return true;
    cosim_answer(l);
    return false;
  }
  if (l->traffic) {
    l->quiet = 0;
    l->traffic = false;
  } else {
    l->quiet++;
    // A cycle without traffic, nothing waiting and busy_o 0: the clock has nothing more to bring.
    l->idle = l->queued == 0 && (l->region->idle_cycles ? l->quiet >= l->region->idle_cycles : !busy);
  }
  if (!l->idle && !l->failed && l->cycle < l->stop && l->output_bytes <= l->output_limit) return true;
  cosim_answer(l);
  return false;
}

#endif

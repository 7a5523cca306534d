// SPDX-License-Identifier: Apache-2.0
// What the VHDL shell calls (VHPIDIRECT). A std_logic_vector is one byte per bit, leftmost first: U X 0 1 Z W L H - are 0 to 8.
#include "link.h"
#include "child.h"

// Bits of the vector that the shell gives to cosim_cycle: busy_o, then these for each port.
enum { OUT_BUSY = 0, OUT_PORT = 1, OUT_RX_READY = 0, OUT_TX_VALID = 1, OUT_STRIDE = 2 };
// Bits of the vector it gets: rst_i, the end of the simulation, then these for each port.
enum { IN_RESET = 0, IN_QUIT = 1, IN_PORT = 2, IN_RX_VALID = 0, IN_RX_NEW = 1, IN_TX_READY = 2, IN_STRIDE = 3 };

static struct cosim_link *l;
static uint32_t number;

static inline uint8_t bit(bool value) { return value ? 3 : 2; }
static inline bool one(uint8_t value) { return value == 3 || value == 7; }

// Answers requests without cycles to run until one has some; false: the simulation ends.
static bool next_run(void) {
  for (;;) {
    number = cosim_wait(l->region, number);
    if (l->region->command == COSIM_QUIT) return false;
    if (cosim_accept(l)) return true;
    cosim_post(l->region, number);
  }
}

static void inputs(uint8_t *in) {
  cosim_drive(l);
  in[IN_RESET] = bit(l->reset != 0);
  in[IN_QUIT] = bit(false);
  for (uint32_t n = 0; n < l->region->ports; n++) {
    uint8_t *p = in + IN_PORT + IN_STRIDE * n;
    p[IN_RX_VALID] = bit(l->port[n].rx_valid);
    p[IN_RX_NEW] = bit(l->port[n].rx_new);
    p[IN_TX_READY] = bit(l->port[n].tx_ready);
  }
}

// Called once, before the first cycle.
void cosim_begin(uint8_t *in) {
  struct cosim_region *region = cosim_attach();
  l = cosim_link_make(region);
  if (next_run()) {
    inputs(in);
  } else {
    in[IN_QUIT] = bit(true);
  }
}

static inline void check(const char *pin, uint32_t n, uint8_t value) {
  static const char *const port[] = {"p0_", "p1_", "p2_", ""};
  if (value == 2 || value == 3 || value == 6 || value == 7) return;
  cosim_fail(l, "%s%s is '%c' in cycle %llu", port[n], pin, "UX01ZWLH-"[value < 9 ? value : 1], (unsigned long long)l->cycle);
}

// Called after every rising edge with the outputs of just before it; gives the inputs of the next cycle.
void cosim_cycle(const uint8_t *out, uint8_t *in) {
  if (!l->reset) {
    check("busy_o", COSIM_PORTS, out[OUT_BUSY]);
    for (uint32_t n = 0; n < l->region->ports; n++) {
      const uint8_t *p = out + OUT_PORT + OUT_STRIDE * n;
      check("rx_ready_o", n, p[OUT_RX_READY]);
      check("tx_valid_o", n, p[OUT_TX_VALID]);
      cosim_handshake(l, n, one(p[OUT_RX_READY]), one(p[OUT_TX_VALID]));
    }
  }
  if (!cosim_next_cycle(l, one(out[OUT_BUSY]))) {
    cosim_post(l->region, number);
    if (!next_run()) {
      in[IN_QUIT] = bit(true);
      return;
    }
  }
  inputs(in);
}

// Called for a beat that leaves a port. Bits that are neither 0 nor 1 count as 0.
void cosim_take(int32_t n, const uint8_t *data, const uint8_t *keep, uint8_t last) {
  uint32_t words[COSIM_BEAT / 4];
  uint32_t mask = 0;
  if (l->reset) return;
  for (int k = 0; k < COSIM_BEAT / 4; k++) {
    const uint8_t *bits = data + (COSIM_BEAT / 4 - 1 - k) * 32;
    uint32_t word = 0;
    for (int b = 0; b < 32; b++) word |= (uint32_t)one(bits[b]) << (31 - b);
    words[k] = word;
  }
  for (int b = 0; b < 8; b++) {
    check("tx_keep_o", (uint32_t)n, keep[b]);
    mask = mask << 1 | one(keep[b]);
  }
  check("tx_last_o", (uint32_t)n, last);
  cosim_take_beat(l, (uint32_t)n, mask, one(last), words);
}

// Called for a port whose beat on the pins changes.
void cosim_give(int32_t n, uint8_t *data, uint8_t *keep_and_last) {
  const struct cosim_port *p = &l->port[n];
  for (int k = 0; k < COSIM_BEAT / 4; k++) {
    uint8_t *bits = data + (COSIM_BEAT / 4 - 1 - k) * 32;
    for (int b = 0; b < 32; b++) bits[b] = (uint8_t)(2 + (p->rx_data[k] >> (31 - b) & 1));
  }
  for (int b = 0; b < 8; b++) keep_and_last[b] = bit(p->rx_keep >> (7 - b) & 1);
  keep_and_last[8] = bit(p->rx_last);
}

// SPDX-License-Identifier: Apache-2.0
// A Verilator model behind the link: a plain C interface for use inside the parent process, and a main() for use as a child.
#include "link.h"
#include "child.h"

#include "Vmodel.h"
#include "verilated.h"
#if defined(COSIM_VCD)
#include "verilated_vcd_c.h"
typedef VerilatedVcdC Wave;

// A waveform that can no longer be written, on a disk that is full most often, ends where it is. The simulation goes on.
class WaveFile : public VerilatedVcdFile {
public:
  const char *name = "";

  ssize_t write(const char *data, ssize_t length) VL_MT_UNSAFE override {
    if (ended) return length;
    ssize_t written = VerilatedVcdFile::write(data, length);
    if (written >= 0 || errno == EAGAIN || errno == EINTR) return written;
    ended = true;
    fprintf(stderr, "cosim: the waveform %s ends here: %s\n", name, strerror(errno));
    return length;
  }

private:
  bool ended = false;
};
#elif defined(COSIM_FST)
#include "verilated_fst_c.h"
typedef VerilatedFstC Wave;
#endif

#if COSIM_DESIGN_PORTS == 3
#define FOR_EACH_PORT(DO) DO(0) DO(1) DO(2)
#elif COSIM_DESIGN_PORTS == 2
#define FOR_EACH_PORT(DO) DO(0) DO(1)
#else
#define FOR_EACH_PORT(DO) DO(0)
#endif

#define EXPORT extern "C" __attribute__((visibility("default")))

struct Simulator {
  VerilatedContext *context;
  Vmodel *model;
  cosim_link *link;
#if defined(COSIM_VCD) || defined(COSIM_FST)
  Wave *wave;
#endif
#if defined(COSIM_VCD)
  WaveFile *file;
#endif
  char text[512]; // what the model printed last
};

// The simulator that is being evaluated on this thread: where its $fatal, $finish and $display go.
static thread_local Simulator *running;

extern "C" void cosim_print(const char *format, ...) {
  if (!running) return;
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(running->text, sizeof running->text, format, arguments);
  va_end(arguments);
}

static void ended(const char *how, const char *file, int line) {
  if (!running) return;
  size_t length = strlen(running->text);
  while (length && running->text[length - 1] == '\n') running->text[--length] = 0;
  cosim_fail(running->link, "%s in cycle %llu at %s:%d%s%s", how, (unsigned long long)running->link->cycle, file, line,
             length ? ": " : "", running->text);
}

void vl_finish(const char *file, int line, const char *) VL_MT_UNSAFE { ended("$finish", file, line); }
void vl_stop(const char *file, int line, const char *) VL_MT_UNSAFE { ended("assertion failed", file, line); }

// Verilator does not expect to come back from here: a loop that finds no end, say, would go on for ever.
struct Fatal {};
void vl_fatal(const char *file, int line, const char *, const char *message) VL_MT_UNSAFE {
  if (running && message && *message) snprintf(running->text, sizeof running->text, "%s", message);
  ended("fatal error", file, line);
  throw Fatal{};
}

// Verilator's runtime finds the context of a call by its thread, and a model may be used and closed on other threads than the one
// that made it.
static inline void enter(Simulator *s) {
  running = s;
  Verilated::threadContextp(s->context);
}

// Seed of random initial values; 0: none.
static int seed;

// Makes a simulator over a region. A wave file is written where one is named.
EXPORT Simulator *cosim_open(cosim_region *region, const char *wave) {
  Simulator *s = new Simulator{};
  running = s;
  s->context = new VerilatedContext;
  if (seed) {
    s->context->randReset(2);
    s->context->randSeed(seed);
  }
  s->link = cosim_link_make(region);
#if defined(COSIM_VCD) || defined(COSIM_FST)
  s->context->traceEverOn(true);
#endif
  s->model = new Vmodel{s->context, "TOP"};
  s->context->time(region->first_cycle * 4);
#if defined(COSIM_VCD) || defined(COSIM_FST)
#if defined(COSIM_VCD)
  s->file = new WaveFile;
  s->file->name = strdup(wave);
  s->wave = new Wave{s->file};
#else
  s->wave = new Wave;
#endif
  s->model->trace(s->wave, 99);
  s->wave->open(wave);
  if (!s->wave->isOpen()) cosim_fail(s->link, "cannot write the wave file %s: %s", wave, strerror(errno));
#else
  (void)wave;
#endif
  return s;
}

static inline void evaluate(Simulator *s, int clock) {
  s->model->clk_i = clock;
  s->model->eval();
  s->context->timeInc(2); // ns: 250 MHz
#if defined(COSIM_VCD) || defined(COSIM_FST)
  s->wave->dump(s->context->time() - 2);
#endif
}

static void run(Simulator *s) {
  cosim_link *l = s->link;
  Vmodel *m = s->model;
  bool busy;
  do {
    cosim_drive(l);
    m->rst_i = l->reset != 0;
#define DRIVE(N) \
    m->p##N##_rx_valid_i = l->port[N].rx_valid; \
    m->p##N##_tx_ready_i = l->port[N].tx_ready; \
    if (l->port[N].rx_new) { \
      m->p##N##_rx_last_i = l->port[N].rx_last; \
      m->p##N##_rx_keep_i = l->port[N].rx_keep; \
      memcpy(&m->p##N##_rx_data_i[0], l->port[N].rx_data, COSIM_BEAT); \
    }
    FOR_EACH_PORT(DRIVE)
    evaluate(s, 0);
#if COSIM_BUSY
    busy = m->busy_o;
#else
    busy = false;
#endif
#define SAMPLE(N) \
    if (m->p##N##_tx_valid_o && l->port[N].tx_ready) \
      cosim_take_beat(l, N, m->p##N##_tx_keep_o, m->p##N##_tx_last_o, &m->p##N##_tx_data_o[0]); \
    cosim_handshake(l, N, m->p##N##_rx_ready_o, m->p##N##_tx_valid_o);
    FOR_EACH_PORT(SAMPLE)
    evaluate(s, 1);
  } while (cosim_next_cycle(l, busy));
}

// Serves the request in the region.
EXPORT void cosim_execute(Simulator *s) {
  cosim_link *l = s->link;
  enter(s);
  if (!cosim_accept(l)) return;
  try {
    run(s);
  } catch (const Fatal &) {
    cosim_answer(l);
  }
#if defined(COSIM_VCD) || defined(COSIM_FST)
  if (l->failed) s->wave->flush();
#endif
}

EXPORT void cosim_close(Simulator *s) {
  enter(s);
#if defined(COSIM_VCD) || defined(COSIM_FST)
  s->wave->close();
  delete s->wave;
#endif
#if defined(COSIM_VCD)
  free((void *)s->file->name);
  delete s->file;
#endif
  s->model->final();
  delete s->model;
  delete s->context;
  cosim_link_free(s->link);
  running = nullptr;
  delete s;
}

// As a child: the arguments are the wave file, or nothing, and a seed.
int main(int count, char **arguments) {
  cosim_region *region = cosim_attach();
  if (count > 2) seed = atoi(arguments[2]);
  Simulator *s = cosim_open(region, count > 1 ? arguments[1] : "");
  uint32_t number = 0;
  for (;;) {
    number = cosim_wait(region, number);
    if (region->command == COSIM_QUIT) break;
    cosim_execute(s);
    cosim_post(region, number);
  }
  cosim_close(s);
  _exit(0); // the thread that watches the parent is still reading
}

// SPDX-License-Identifier: Apache-2.0
//
// Copies between this process and memory that another process can take away at any moment (a shared file that is
// truncated raises SIGBUS at the next access). The copy then ends with an error instead of ending the process.
//
// Guest side accesses are as wide as their alignment allows: every naturally aligned 2, 4 and 8 byte part of the guest
// range is touched by exactly one access, which rings shared with a running driver depend on.

#include <setjmp.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

typedef long long vector16 __attribute__((vector_size(16)));

// What this thread is copying right now; the handler leaves through `jump` when the fault lies in [first, end).
struct guard {
  sigjmp_buf jump;
  uintptr_t first;
  uintptr_t end;
};

// initial-exec: the handler must reach it without the lazy allocation other models may do.
static __thread struct guard *volatile active __attribute__((tls_model("initial-exec")));

static struct sigaction former;

static void on_bus_error(int signal, siginfo_t *info, void *context)
{
  struct guard *guard = active;
  uintptr_t address = (uintptr_t)info->si_addr;

  if (guard != NULL && address >= guard->first && address < guard->end) {
    siglongjmp(guard->jump, 1);
  }

  // Not ours: whoever handled it before decides.
  if ((former.sa_flags & SA_SIGINFO) != 0) {
    former.sa_sigaction(signal, info, context);
  } else if (former.sa_handler == SIG_DFL || former.sa_handler == SIG_IGN) {
    sigaction(signal, &former, NULL);
  } else {
    former.sa_handler(signal);
  }
}

// Puts the handler in front of the present one when the library is loaded: by then the runtime has installed its own.
static __attribute__((constructor)) void install(void)
{
  struct sigaction action;

  memset(&action, 0, sizeof action);
  action.sa_sigaction = on_bus_error;
  // SA_NODEFER: leaving by siglongjmp then needs no signal mask to be restored, so none is saved on the way in.
  action.sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER;
  sigemptyset(&action.sa_mask);
  sigaction(SIGBUS, &action, &former);
}

static inline __attribute__((always_inline)) void load(uint8_t *local, const volatile uint8_t *guest, size_t width)
{
  switch (width) {
    case 1: { uint8_t value = *guest; memcpy(local, &value, 1); break; }
    case 2: { uint16_t value = *(const volatile uint16_t *)guest; memcpy(local, &value, 2); break; }
    case 4: { uint32_t value = *(const volatile uint32_t *)guest; memcpy(local, &value, 4); break; }
    case 8: { uint64_t value = *(const volatile uint64_t *)guest; memcpy(local, &value, 8); break; }
    default: { vector16 value = *(const volatile vector16 *)guest; memcpy(local, &value, 16); break; }
  }
}

static inline __attribute__((always_inline)) void store(const uint8_t *local, volatile uint8_t *guest, size_t width)
{
  switch (width) {
    case 1: { uint8_t value; memcpy(&value, local, 1); *guest = value; break; }
    case 2: { uint16_t value; memcpy(&value, local, 2); *(volatile uint16_t *)guest = value; break; }
    case 4: { uint32_t value; memcpy(&value, local, 4); *(volatile uint32_t *)guest = value; break; }
    case 8: { uint64_t value; memcpy(&value, local, 8); *(volatile uint64_t *)guest = value; break; }
    default: { vector16 value; memcpy(&value, local, 16); *(volatile vector16 *)guest = value; break; }
  }
}

// One access of `width` bytes, in whichever direction MOVE goes, and on to what follows.
#define STEP(MOVE, width)    \
  do {                       \
    MOVE(local, guest, width); \
    local += (width);        \
    guest += (width);        \
    length -= (width);       \
  } while (0)

// Up to the next 8 byte boundary of the guest side, then 8 bytes at a time (16 where there is much), then the rest.
#define COPY(MOVE)                                                    \
  do {                                                                \
    if (length >= 1 && ((uintptr_t)guest & 1) != 0) STEP(MOVE, 1);    \
    if (length >= 2 && ((uintptr_t)guest & 2) != 0) STEP(MOVE, 2);    \
    if (length >= 4 && ((uintptr_t)guest & 4) != 0) STEP(MOVE, 4);    \
    if (length > 64) {                                                \
      if (((uintptr_t)guest & 8) != 0) STEP(MOVE, 8);                 \
      while (length >= 64) {                                          \
        STEP(MOVE, 16);                                               \
        STEP(MOVE, 16);                                               \
        STEP(MOVE, 16);                                               \
        STEP(MOVE, 16);                                               \
      }                                                               \
    }                                                                 \
    while (length >= 8) STEP(MOVE, 8);                                \
    if (length >= 4) STEP(MOVE, 4);                                   \
    if (length >= 2) STEP(MOVE, 2);                                   \
    if (length >= 1) STEP(MOVE, 1);                                   \
  } while (0)

// Apart from their guarded callers, so that no variable of the caller lives across the jump.
static __attribute__((noinline)) void copy_in(uint8_t *local, const volatile uint8_t *guest, size_t length)
{
  COPY(load);
}

static __attribute__((noinline)) void copy_out(const uint8_t *local, volatile uint8_t *guest, size_t length)
{
  COPY(store);
}

// Guest memory to local memory. Returns 0, or 1 when the guest side could not be read (part of it may have been).
int cosim_memory_read(uint8_t *local, const volatile uint8_t *guest, size_t length)
{
  struct guard guard;

  guard.first = (uintptr_t)guest;
  guard.end = (uintptr_t)guest + length;
  if (sigsetjmp(guard.jump, 0) != 0) {
    active = NULL;
    return 1;
  }
  active = &guard;
  copy_in(local, guest, length);
  active = NULL;
  return 0;
}

// Local memory to guest memory. Returns 0, or 1 when the guest side could not be written (part of it may have been).
int cosim_memory_write(const uint8_t *local, volatile uint8_t *guest, size_t length)
{
  struct guard guard;

  guard.first = (uintptr_t)guest;
  guard.end = (uintptr_t)guest + length;
  if (sigsetjmp(guard.jump, 0) != 0) {
    active = NULL;
    return 1;
  }
  active = &guard;
  copy_out(local, guest, length);
  active = NULL;
  return 0;
}

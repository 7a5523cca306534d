// SPDX-License-Identifier: Apache-2.0
// Included before everything in a Verilator build: what a model prints goes to the link, not to the process's output.
#ifndef COSIM_VERILATOR_H
#define COSIM_VERILATOR_H
#ifdef __cplusplus
extern "C"
#endif
void cosim_print(const char *format, ...);
#define VL_PRINTF cosim_print
#endif

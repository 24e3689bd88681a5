/* The data side of the memory system: TLBs, L1 and L2 caches, prefetcher and the bus to DRAM. Times are in cycles. */

#pragma once

#include <stdint.h>

enum { LINE_SHIFT = 6 };

/* Cycles that translating an address adds. */
uint64_t translate(uint64_t address);

/* A line that is read, or written by a store that has committed, from `time` on; when it is there. */
uint64_t read_line(uint64_t line, uint64_t time);
uint64_t write_line(uint64_t line, uint64_t time);

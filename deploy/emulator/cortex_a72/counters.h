/* What the model counts between two marks. */

#pragma once

#include <stdint.h>

#define COUNTERS(X) \
    X(instructions) X(micro_ops) X(l1_misses) X(l2_misses) X(prefetches) X(late_prefetches) X(lines_read) \
    X(lines_written) X(mispredicts) X(tlb_misses) X(tlb_walks) X(stalls_reorder) X(stalls_queue) \
    X(stalls_store_buffer) X(stalls_branch)

#define COUNTER_FIELD(name) uint64_t name;
struct counters {
    COUNTERS(COUNTER_FIELD)
};
#undef COUNTER_FIELD

extern struct counters counters;

/* The numbers that describe the core and its memory, read from parameters.txt. */

#pragma once

#define PARAMETERS(X) \
    X(dispatch_width) X(commit_width) X(reorder_entries) X(queue_vector) X(queue_integer) X(queue_memory) \
    X(store_buffer_entries) X(mispredict_penalty) X(history_branches) X(tlb_hit_second) X(tlb_walk) X(l2_latency) \
    X(l2_line_occupancy) X(miss_registers) X(write_streaming) X(write_streaming_after) X(prefetch_confidence) \
    X(prefetch_distance_l2) X(prefetch_distance_l1) X(prefetch_across_pages) X(prefetch_on_prefetched_hit) \
    X(memory_latency) X(bus_line) X(read_line) X(write_line) X(write_queue_lines)

#define PARAMETER_FIELD(name) int name;
struct parameters {
    PARAMETERS(PARAMETER_FIELD)
};
#undef PARAMETER_FIELD

/* The largest values that the tables of the model have room for. */
enum { MOST_REORDER_ENTRIES = 256, MOST_QUEUE_ENTRIES = 32, MOST_STORE_BUFFER_ENTRIES = 32, MOST_MISS_REGISTERS = 16 };

extern struct parameters parameters;

/* Reads the file; 0 if it has every parameter once and each fits, else 1 after a message on standard error. */
int read_parameters(const char *path);

/* Sets one parameter by "name=value"; 0, or 1 after a message on standard error. */
int set_parameter(const char *assignment);

/* Checks that the values fit the tables of the model; 0, or 1 after a message on standard error. */
int check_parameters(void);

/* What each operation costs: latency, forwarding and pipes, read from operations.txt. */

#pragma once

#include <stdint.h>

enum pipe { PIPE_B, PIPE_I, PIPE_M, PIPE_L, PIPE_S, PIPE_F0, PIPE_F1, PIPE_F, PIPES };
/* Accumulators are forwarded late inside a chain of operations of one kind. */
enum chain { CHAIN_NONE, CHAIN_FP, CHAIN_MULTIPLY, CHAIN_ACCUMULATE };
/* How often a micro-operation, or a cycle of it, is there: once, or by the registers that an instruction names. */
enum repeat { ONCE, EACH_REGISTER, HALF_THE_REGISTERS, TWICE_EACH_REGISTER };

#define OPERATIONS(X) \
    X(integer) X(integer_shifted) X(multiply) X(multiply_long) X(multiply_high) X(divide) X(branch) X(branch_link) \
    X(read_system) X(system) X(load) X(load_ordered) X(load_pair) X(load_vector) X(load_vector_pair) \
    X(load_vector_pair_q) X(load_vector_index_q) X(load_multiple) X(load_element) X(load_interleaved) \
    X(load_interleaved_q) X(prefetch) X(store) X(store_ordered) X(store_pair_64) X(store_q) X(store_pair_q) \
    X(store_multiple) X(store_multiple_q) X(store_element) X(store_interleaved) X(store_interleaved_q) X(to_vector) \
    X(from_vector) X(duplicate_general) X(move_element_general) X(convert_from_integer) X(convert_to_integer) \
    X(fp_multiply_add) X(fp_multiply_add_q) X(fp_step) X(fp_step_q) X(fp_multiply) X(fp_multiply_q) X(fp_add) \
    X(fp_add_q) X(fp_divide_scalar) X(fp_square_root) X(fp_divide) X(fp_divide_q) X(fp_convert) X(fp_convert_q) \
    X(fp_narrow) X(fp_compare) X(fp_move) X(vector_multiply) X(vector_multiply_q) X(vector_multiply_add) \
    X(vector_multiply_add_q) X(vector_multiply_long) X(vector_accumulate) X(vector_accumulate_q) X(vector_shift) \
    X(vector_shift_complex) X(vector_shift_register) X(vector_shift_register_q) X(vector_shift_accumulate) \
    X(vector_reduce) X(vector_reduce_q) X(vector_arithmetic) X(vector_narrow_high) X(vector_narrow_saturate) \
    X(vector_permute) X(table_lookup) X(table_lookup_q)

#define OPERATION_NAME(name) OP_##name,
enum operation { OPERATIONS(OPERATION_NAME) OPERATION_COUNT };
#undef OPERATION_NAME

/* One micro-operation of an operation: its pipe, how many there are, and the cycles that each keeps the pipe busy. */
struct step {
    uint8_t pipe, count, cycles; /* count: enum repeat; cycles: a number, or 0 where `cycles_by` says it */
    uint8_t cycles_by;           /* enum repeat */
};

struct cost {
    uint8_t latency, latency_per_register, chain, chain_latency, steps;
    struct step step[3];
};

extern struct cost costs[OPERATION_COUNT];

/* Reads the file; 0 if it has every operation once, else 1 after a message on standard error. */
int read_operations(const char *path);

/* An instruction as the core sees it: the registers it reads and writes, its micro-operations, its memory access. */

#pragma once

#include <stdint.h>

#include "operations.h"

/* X0 to X30 and SP, V0 to V31, the flags. */
enum { STACK_POINTER = 31, FIRST_VECTOR = 32, FLAGS = 64, REGISTERS = 65, NO_REGISTER = 127 };
enum access { ACCESS_NONE, ACCESS_LOAD, ACCESS_STORE, ACCESS_PREFETCH };
enum branch { BRANCH_NONE, BRANCH_CONDITIONAL, BRANCH_DIRECT, BRANCH_INDIRECT, BRANCH_CALL, BRANCH_RETURN };

enum { MOST_SOURCES = 6, MOST_DESTINATIONS = 5, MOST_MICRO_OPS = 10 };

struct micro_op {
    uint8_t pipe, cycles;
};

struct instruction {
    uint8_t sources[MOST_SOURCES], source_count;
    uint8_t destinations[MOST_DESTINATIONS], destination_count;
    uint8_t accumulator; /* read late where it comes from the same chain, or NO_REGISTER */
    uint8_t written_base; /* the base register that an addressing mode updates, or NO_REGISTER */
    uint8_t latency, chain, chain_latency;
    struct micro_op micro_ops[MOST_MICRO_OPS];
    uint8_t micro_op_count;
    uint8_t access, branch;
    uint8_t base; /* of the address, or NO_REGISTER where the address has an index */
    uint16_t bytes;
    int32_t offset;         /* of the address from the base */
    int16_t same_base_as;   /* prefetch: the index in its block of the access whose base it shares, or -1 */
};

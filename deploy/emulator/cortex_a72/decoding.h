/* What the parts of the decoder share. */

#pragma once

#include "instruction.h"

/* The bits `high` to `low` of an instruction word. */
static inline unsigned bits(uint32_t word, unsigned high, unsigned low) {
    return word >> low & ((2u << (high - low)) - 1);
}

/* Register 31 is zero or SP: nothing waits for it. */
void read_general(struct instruction *instruction, unsigned number);
void read_vector(struct instruction *instruction, unsigned number);
void read_flags(struct instruction *instruction);
void write_general(struct instruction *instruction, unsigned number);
void write_vector(struct instruction *instruction, unsigned number);
void write_flags(struct instruction *instruction);
void accumulate(struct instruction *instruction, unsigned vector);
/* The addressing mode writes the base register: an integer micro-operation, before the operation's own. */
void write_base(struct instruction *instruction, unsigned base);
/* Sets latency and micro-operations; `registers` for operations that cost by the register. */
void perform(struct instruction *instruction, enum operation operation);
void perform_on(struct instruction *instruction, enum operation operation, unsigned registers);

void decode_memory(struct instruction *instruction, uint32_t word);
void decode_vector(struct instruction *instruction, uint32_t word);

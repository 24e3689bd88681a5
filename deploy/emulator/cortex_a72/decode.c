/* Decodes integer instructions and branches, and hands on loads, stores and vectors. */

#include "decode.h"

#include <string.h>

#include "decoding.h"

void read_general(struct instruction *instruction, unsigned number) {
    if (number != STACK_POINTER && instruction->source_count < MOST_SOURCES)
        instruction->sources[instruction->source_count++] = (uint8_t)number;
}

void read_vector(struct instruction *instruction, unsigned number) {
    if (instruction->source_count < MOST_SOURCES)
        instruction->sources[instruction->source_count++] = (uint8_t)(FIRST_VECTOR + number);
}

void read_flags(struct instruction *instruction) {
    if (instruction->source_count < MOST_SOURCES)
        instruction->sources[instruction->source_count++] = FLAGS;
}

void write_general(struct instruction *instruction, unsigned number) {
    if (number != STACK_POINTER && instruction->destination_count < MOST_DESTINATIONS)
        instruction->destinations[instruction->destination_count++] = (uint8_t)number;
}

void write_vector(struct instruction *instruction, unsigned number) {
    if (instruction->destination_count < MOST_DESTINATIONS)
        instruction->destinations[instruction->destination_count++] = (uint8_t)(FIRST_VECTOR + number);
}

void write_flags(struct instruction *instruction) {
    if (instruction->destination_count < MOST_DESTINATIONS)
        instruction->destinations[instruction->destination_count++] = FLAGS;
}

void accumulate(struct instruction *instruction, unsigned vector) {
    instruction->accumulator = (uint8_t)(FIRST_VECTOR + vector);
}

static void add_micro_op(struct instruction *instruction, unsigned pipe, unsigned cycles) {
    if (instruction->micro_op_count < MOST_MICRO_OPS)
        instruction->micro_ops[instruction->micro_op_count++] =
            (struct micro_op){.pipe = (uint8_t)pipe, .cycles = (uint8_t)cycles};
}

void write_base(struct instruction *instruction, unsigned base) {
    instruction->written_base = (uint8_t)base;
    add_micro_op(instruction, PIPE_I, 1);
}

static unsigned times(enum repeat repeat, unsigned registers) {
    switch (repeat) {
    case EACH_REGISTER:
        return registers;
    case HALF_THE_REGISTERS:
        return (registers + 1) / 2;
    case TWICE_EACH_REGISTER:
        return 2 * registers;
    default:
        return 1;
    }
}

void perform_on(struct instruction *instruction, enum operation operation, unsigned registers) {
    const struct cost *cost = &costs[operation];
    instruction->latency = (uint8_t)(cost->latency + cost->latency_per_register * registers);
    instruction->chain = cost->chain;
    instruction->chain_latency = cost->chain_latency;
    for (unsigned i = 0; i < cost->steps; i++) {
        const struct step *step = &cost->step[i];
        unsigned cycles = step->cycles_by ? times(step->cycles_by, registers) : step->cycles;
        for (unsigned count = times(step->count, registers); count; count--)
            add_micro_op(instruction, step->pipe, cycles);
    }
}

void perform(struct instruction *instruction, enum operation operation) { perform_on(instruction, operation, 1); }

/* Data processing, immediate: the group is bits 25 to 23. */
static void decode_immediate(struct instruction *instruction, uint32_t word) {
    enum { ADDRESS_OF = 1, ADD = 2, LOGICAL = 4, MOVE_WIDE = 5, BIT_FIELD = 6, EXTRACT = 7 };
    unsigned group = bits(word, 25, 23), rd = bits(word, 4, 0), opcode = bits(word, 30, 29);
    perform(instruction, OP_integer);
    write_general(instruction, rd);
    if (group <= ADDRESS_OF)
        return;
    if (group == MOVE_WIDE) {
        if (opcode == 3) /* MOVK keeps the rest */
            read_general(instruction, rd);
        return;
    }
    read_general(instruction, bits(word, 9, 5));
    if ((group == ADD && opcode & 1) || (group == LOGICAL && opcode == 3))
        write_flags(instruction);
    if (group == BIT_FIELD && opcode == 1) /* BFM */
        read_general(instruction, rd);
    if (group == EXTRACT)
        read_general(instruction, bits(word, 20, 16));
}

static void decode_branch(struct instruction *instruction, uint32_t word) {
    enum { LINK = 30 };
    unsigned call = 0;
    if (bits(word, 30, 26) == 0x05) { /* B, BL */
        call = word >> 31;
        instruction->branch = call ? BRANCH_CALL : BRANCH_DIRECT;
    } else if (bits(word, 31, 24) == 0x54) { /* B.cond */
        instruction->branch = BRANCH_CONDITIONAL;
        read_flags(instruction);
    } else if (bits(word, 30, 25) == 0x1A || bits(word, 30, 25) == 0x1B) { /* CBZ, TBZ */
        instruction->branch = BRANCH_CONDITIONAL;
        read_general(instruction, bits(word, 4, 0));
    } else if (bits(word, 31, 25) == 0x6B) { /* BR, BLR, RET */
        unsigned kind = bits(word, 24, 21);
        call = kind == 1;
        instruction->branch = call ? BRANCH_CALL : kind == 2 ? BRANCH_RETURN : BRANCH_INDIRECT;
        read_general(instruction, bits(word, 9, 5));
    } else if (bits(word, 31, 20) == 0xD53) { /* MRS */
        perform(instruction, OP_read_system);
        write_general(instruction, bits(word, 4, 0));
        return;
    }
    perform(instruction, call ? OP_branch_link : OP_branch);
    if (call)
        write_general(instruction, LINK);
}

static void decode_add_or_logical(struct instruction *instruction, uint32_t word) {
    unsigned is_add = bits(word, 28, 24) == 0x0B, opcode = bits(word, 30, 29);
    unsigned shifted = (is_add && bits(word, 21, 21)) || bits(word, 15, 10) != 0;
    read_general(instruction, bits(word, 9, 5));
    read_general(instruction, bits(word, 20, 16));
    write_general(instruction, bits(word, 4, 0));
    perform(instruction, shifted ? OP_integer_shifted : OP_integer);
    if (is_add ? opcode & 1 : opcode == 3)
        write_flags(instruction);
}

static void decode_multiply(struct instruction *instruction, uint32_t word) {
    unsigned kind = bits(word, 23, 21);
    read_general(instruction, bits(word, 9, 5));
    read_general(instruction, bits(word, 20, 16));
    read_general(instruction, bits(word, 14, 10));
    write_general(instruction, bits(word, 4, 0));
    if (kind == 2 || kind == 6)
        perform(instruction, OP_multiply_high);
    else
        perform(instruction, word >> 31 && kind == 0 ? OP_multiply_long : OP_multiply);
}

/* Data processing, register, other than the two above: bits 24 to 21 tell the group. */
static void decode_register_group(struct instruction *instruction, uint32_t word) {
    enum { WITH_CARRY = 0, CONDITIONAL_COMPARE = 2, CONDITIONAL_SELECT = 4, ONE_OR_TWO_SOURCES = 6 };
    unsigned rd = bits(word, 4, 0), rm = bits(word, 20, 16), opcode = bits(word, 15, 10);
    read_general(instruction, bits(word, 9, 5));
    switch (bits(word, 24, 21)) {
    case WITH_CARRY:
        read_general(instruction, rm);
        read_flags(instruction);
        write_general(instruction, rd);
        if (bits(word, 29, 29))
            write_flags(instruction);
        break;
    case CONDITIONAL_COMPARE:
        if (!bits(word, 11, 11))
            read_general(instruction, rm);
        read_flags(instruction);
        write_flags(instruction);
        break;
    case CONDITIONAL_SELECT:
        read_general(instruction, rm);
        read_flags(instruction);
        write_general(instruction, rd);
        break;
    case ONE_OR_TWO_SOURCES:
        write_general(instruction, rd);
        if (bits(word, 30, 30))
            break;
        read_general(instruction, rm);
        if (opcode == 2 || opcode == 3) {
            perform(instruction, OP_divide);
            return;
        }
        break;
    default:
        break;
    }
    perform(instruction, OP_integer);
}

static void decode_register(struct instruction *instruction, uint32_t word) {
    unsigned group = bits(word, 28, 24);
    if (group == 0x0A || group == 0x0B)
        decode_add_or_logical(instruction, word);
    else if (group == 0x1B)
        decode_multiply(instruction, word);
    else
        decode_register_group(instruction, word);
}

void decode(struct instruction *instruction, uint32_t word) {
    unsigned group = bits(word, 28, 25);
    memset(instruction, 0, sizeof *instruction);
    instruction->accumulator = instruction->written_base = instruction->base = NO_REGISTER;
    instruction->same_base_as = -1;
    if ((group & 0xE) == 0x8)
        decode_immediate(instruction, word);
    else if ((group & 0xE) == 0xA)
        decode_branch(instruction, word);
    else if ((group & 0x5) == 0x4)
        decode_memory(instruction, word);
    else if ((group & 0x7) == 0x5)
        decode_register(instruction, word);
    else if ((group & 0x7) == 0x7)
        decode_vector(instruction, word);
    else
        perform(instruction, OP_system);
}

/* Decodes loads, stores and prefetches. */

#include "decoding.h"

static void set_access(struct instruction *instruction, enum access access, unsigned bytes) {
    instruction->access = (uint8_t)access;
    instruction->bytes = (uint16_t)bytes;
}

static int32_t sign_extend(unsigned value, unsigned width) {
    return (int32_t)(value << (32 - width)) >> (32 - width);
}

/* LD1 to LD4 and ST1 to ST4 of whole registers. */
static unsigned decode_structures(struct instruction *instruction, uint32_t word) {
    unsigned opcode = bits(word, 15, 12), quad = bits(word, 30, 30), load = bits(word, 22, 22), registers;
    unsigned interleaved = opcode == 8 || opcode == 4 || opcode == 0;
    switch (opcode) {
    case 7:
        registers = 1;
        break;
    case 10:
    case 8:
        registers = 2;
        break;
    case 6:
    case 4:
        registers = 3;
        break;
    default:
        registers = 4;
    }
    set_access(instruction, load ? ACCESS_LOAD : ACCESS_STORE, registers * (quad ? 16 : 8));
    if (load && interleaved)
        perform_on(instruction, quad ? OP_load_interleaved_q : OP_load_interleaved, registers);
    else if (load)
        perform_on(instruction, OP_load_multiple, registers);
    else if (interleaved)
        perform_on(instruction, quad ? OP_store_interleaved_q : OP_store_interleaved, registers);
    else
        perform_on(instruction, quad ? OP_store_multiple_q : OP_store_multiple, registers);
    return registers;
}

/* LD1 to LD4 and ST1 to ST4 of one lane, and LD1R to LD4R. */
static unsigned decode_lanes(struct instruction *instruction, uint32_t word) {
    unsigned opcode = bits(word, 15, 13), scale = opcode >> 1, load = bits(word, 22, 22);
    unsigned registers = ((opcode & 1) << 1 | bits(word, 21, 21)) + 1;
    if (scale == 3)
        scale = bits(word, 11, 10);
    else if (scale == 2)
        scale = bits(word, 10, 10) ? 3 : 2;
    set_access(instruction, load ? ACCESS_LOAD : ACCESS_STORE, registers << scale);
    perform_on(instruction, load ? OP_load_element : OP_store_element, load ? registers : 1);
    return registers;
}

static void decode_vector_structures(struct instruction *instruction, uint32_t word) {
    unsigned rt = bits(word, 4, 0), rn = bits(word, 9, 5), rm = bits(word, 20, 16);
    unsigned lanes = bits(word, 24, 24), load = bits(word, 22, 22);
    unsigned keeps_other_lanes = lanes && bits(word, 15, 14) != 3;
    read_general(instruction, rn);
    if (bits(word, 23, 23)) {
        write_base(instruction, rn);
        read_general(instruction, rm); /* 31: the step is the number of bytes */
    }
    unsigned registers = lanes ? decode_lanes(instruction, word) : decode_structures(instruction, word);
    for (unsigned i = 0; i < registers; i++) {
        unsigned vector = (rt + i) & 31;
        if (load)
            write_vector(instruction, vector);
        if (!load || keeps_other_lanes)
            read_vector(instruction, vector);
    }
}

static void decode_ordered(struct instruction *instruction, uint32_t word) {
    unsigned rt = bits(word, 4, 0), load = bits(word, 22, 22);
    read_general(instruction, bits(word, 9, 5));
    set_access(instruction, load ? ACCESS_LOAD : ACCESS_STORE, 8);
    perform(instruction, load ? OP_load_ordered : OP_store_ordered);
    if (load) {
        write_general(instruction, rt);
    } else {
        read_general(instruction, rt);
        write_general(instruction, bits(word, 20, 16)); /* the status */
    }
}

static void decode_literal(struct instruction *instruction, uint32_t word) {
    unsigned rt = bits(word, 4, 0), vector = bits(word, 26, 26);
    set_access(instruction, ACCESS_LOAD, 8);
    perform(instruction, vector ? OP_load_vector : OP_load);
    if (vector)
        write_vector(instruction, rt);
    else
        write_general(instruction, rt);
}

static enum operation pair_operation(unsigned load, unsigned vector, unsigned bytes) {
    if (load)
        return !vector ? OP_load_pair : bytes == 16 ? OP_load_vector_pair_q : OP_load_vector_pair;
    return bytes == 16 ? OP_store_pair_q : bytes == 8 ? OP_store_pair_64 : OP_store;
}

static void decode_pair(struct instruction *instruction, uint32_t word) {
    enum { POST_INDEX = 1, PRE_INDEX = 3 };
    unsigned opcode = bits(word, 31, 30), index = bits(word, 24, 23), load = bits(word, 22, 22);
    unsigned vector = bits(word, 26, 26), rn = bits(word, 9, 5), pair[] = {bits(word, 4, 0), bits(word, 14, 10)};
    unsigned bytes = 1u << (2 + (vector ? opcode : opcode >> 1));
    read_general(instruction, rn);
    if (index == POST_INDEX || index == PRE_INDEX)
        write_base(instruction, rn);
    if (index != POST_INDEX)
        instruction->offset = sign_extend(bits(word, 21, 15), 7) * (int32_t)bytes;
    set_access(instruction, load ? ACCESS_LOAD : ACCESS_STORE, 2 * bytes);
    perform(instruction, pair_operation(load, vector, bytes));
    for (int i = 0; i < 2; i++) {
        if (vector && load)
            write_vector(instruction, pair[i]);
        else if (vector)
            read_vector(instruction, pair[i]);
        else if (load)
            write_general(instruction, pair[i]);
        else
            read_general(instruction, pair[i]);
    }
}

/* The address of a load or store of one register; returns whether it has an index register. */
static unsigned decode_address(struct instruction *instruction, uint32_t word, unsigned bytes) {
    enum { POST_INDEX = 1, WRITES_BASE = 1 };
    unsigned rn = bits(word, 9, 5), mode = bits(word, 11, 10);
    read_general(instruction, rn);
    if (bits(word, 24, 24)) {
        instruction->offset = (int32_t)(bits(word, 21, 10) * bytes);
        return 0;
    }
    if (bits(word, 21, 21)) {
        read_general(instruction, bits(word, 20, 16));
        return 1;
    }
    if (mode != POST_INDEX)
        instruction->offset = sign_extend(bits(word, 20, 12), 9);
    if (mode & WRITES_BASE)
        write_base(instruction, rn);
    return 0;
}

static void decode_one_register(struct instruction *instruction, uint32_t word) {
    unsigned rt = bits(word, 4, 0), size = bits(word, 31, 30), opcode = bits(word, 23, 22), vector = bits(word, 26, 26);
    unsigned bytes = vector && opcode >> 1 ? 16 : 1u << size;
    unsigned indexed = decode_address(instruction, word, bytes);
    if (!vector && size == 3 && opcode == 2) {
        set_access(instruction, ACCESS_PREFETCH, bytes);
        if (indexed)
            instruction->base = NO_REGISTER;
        perform(instruction, OP_prefetch);
        return;
    }
    if (vector ? opcode & 1 : opcode != 0) {
        set_access(instruction, ACCESS_LOAD, bytes);
        if (indexed && bytes == 16)
            perform(instruction, OP_load_vector_index_q);
        else
            perform(instruction, vector ? OP_load_vector : OP_load);
        if (vector)
            write_vector(instruction, rt);
        else
            write_general(instruction, rt);
    } else {
        set_access(instruction, ACCESS_STORE, bytes);
        perform(instruction, bytes == 16 ? OP_store_q : OP_store);
        if (vector)
            read_vector(instruction, rt);
        else
            read_general(instruction, rt);
    }
}

void decode_memory(struct instruction *instruction, uint32_t word) {
    instruction->base = (uint8_t)bits(word, 9, 5);
    if ((word & 0xBE000000u) == 0x0C000000u)
        decode_vector_structures(instruction, word);
    else if (bits(word, 29, 24) == 0x08)
        decode_ordered(instruction, word);
    else if ((word & 0x3B000000u) == 0x18000000u)
        decode_literal(instruction, word);
    else if ((word & 0x3A000000u) == 0x28000000u)
        decode_pair(instruction, word);
    else
        decode_one_register(instruction, word);
}

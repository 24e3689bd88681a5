/* Decodes Advanced SIMD and floating-point instructions. */

#include "decoding.h"

/* The fields that most encodings share. `wide` is the Q form of a vector instruction. */
struct fields {
    unsigned rd, rn, rm, q, u, size, scalar, wide;
};

static struct fields fields_of(uint32_t word) {
    struct fields f = {bits(word, 4, 0),   bits(word, 9, 5),   bits(word, 20, 16), bits(word, 30, 30),
                       bits(word, 29, 29), bits(word, 23, 22), bits(word, 28, 28), 0};
    f.wide = f.q && !f.scalar;
    return f;
}

static void read_two(struct instruction *instruction, const struct fields *f) {
    read_vector(instruction, f->rn);
    read_vector(instruction, f->rm);
    write_vector(instruction, f->rd);
}

static void read_one(struct instruction *instruction, const struct fields *f) {
    read_vector(instruction, f->rn);
    write_vector(instruction, f->rd);
}

static void by_width(struct instruction *instruction, const struct fields *f, enum operation narrow,
                     enum operation wide) {
    perform(instruction, f->wide ? wide : narrow);
}

/* Between integer registers and floating point: bits 18 to 16 are the direction and the conversion. */
static void decode_integer_conversion(struct instruction *instruction, const struct fields *f, unsigned opcode) {
    enum { SIGNED_TO_FP = 2, UNSIGNED_TO_FP = 3, MOVE_TO_GENERAL = 6, MOVE_TO_VECTOR = 7 };
    unsigned to_vector = opcode == SIGNED_TO_FP || opcode == UNSIGNED_TO_FP || opcode == MOVE_TO_VECTOR;
    if (to_vector) {
        read_general(instruction, f->rn);
        write_vector(instruction, f->rd);
        perform(instruction, opcode == MOVE_TO_VECTOR ? OP_to_vector : OP_convert_from_integer);
    } else {
        read_vector(instruction, f->rn);
        write_general(instruction, f->rd);
        perform(instruction, opcode == MOVE_TO_GENERAL ? OP_from_vector : OP_convert_to_integer);
    }
}

static void decode_scalar_two_sources(struct instruction *instruction, const struct fields *f, unsigned opcode) {
    enum { MULTIPLY = 0, DIVIDE = 1, NEGATED_MULTIPLY = 8 };
    read_two(instruction, f);
    if (opcode == MULTIPLY || opcode == NEGATED_MULTIPLY)
        perform(instruction, OP_fp_multiply);
    else
        perform(instruction, opcode == DIVIDE ? OP_fp_divide_scalar : OP_fp_add);
}

static void decode_scalar_one_source(struct instruction *instruction, const struct fields *f, unsigned opcode) {
    enum { MOVE_ABSOLUTE_NEGATE = 2, SQUARE_ROOT = 3 };
    read_one(instruction, f);
    if (opcode == SQUARE_ROOT)
        perform(instruction, OP_fp_square_root);
    else
        perform(instruction, opcode <= MOVE_ABSOLUTE_NEGATE ? OP_fp_move : OP_fp_convert);
}

static void compare(struct instruction *instruction, const struct fields *f) {
    read_vector(instruction, f->rn);
    read_vector(instruction, f->rm);
    write_flags(instruction);
    perform(instruction, OP_fp_compare);
}

static void decode_scalar(struct instruction *instruction, uint32_t word, const struct fields *f) {
    enum { CONDITIONAL_COMPARE = 1, TWO_SOURCES = 2, CONDITIONAL_SELECT = 3 };
    unsigned group = bits(word, 11, 10);
    if (!bits(word, 21, 21)) { /* fixed point */
        read_one(instruction, f);
        perform(instruction, OP_fp_convert);
    } else if (bits(word, 15, 10) == 0) {
        decode_integer_conversion(instruction, f, bits(word, 18, 16));
    } else if (group == TWO_SOURCES) {
        decode_scalar_two_sources(instruction, f, bits(word, 15, 12));
    } else if (group == CONDITIONAL_COMPARE) {
        compare(instruction, f);
        read_flags(instruction);
    } else if (group == CONDITIONAL_SELECT) {
        read_two(instruction, f);
        read_flags(instruction);
        perform(instruction, OP_fp_move);
    } else if (bits(word, 12, 10) == 4) { /* FMOV of an immediate */
        write_vector(instruction, f->rd);
        perform(instruction, OP_fp_move);
    } else if (bits(word, 13, 10) == 8) {
        compare(instruction, f);
    } else {
        decode_scalar_one_source(instruction, f, bits(word, 20, 15));
    }
}

static void decode_scalar_multiply_add(struct instruction *instruction, uint32_t word, const struct fields *f) {
    read_two(instruction, f);
    accumulate(instruction, bits(word, 14, 10));
    perform(instruction, OP_fp_multiply_add);
}

static void decode_fp_three_same(struct instruction *instruction, const struct fields *f, unsigned opcode) {
    enum { MULTIPLY_ADD = 0x19, MULTIPLY = 0x1B, STEP_OR_DIVIDE = 0x1F };
    if (opcode == MULTIPLY_ADD && !f->u) {
        accumulate(instruction, f->rd);
        by_width(instruction, f, OP_fp_multiply_add, OP_fp_multiply_add_q);
    } else if (opcode == MULTIPLY) {
        by_width(instruction, f, OP_fp_multiply, OP_fp_multiply_q);
    } else if (opcode == STEP_OR_DIVIDE && f->u) {
        by_width(instruction, f, OP_fp_divide, OP_fp_divide_q);
    } else if (opcode == STEP_OR_DIVIDE) {
        by_width(instruction, f, OP_fp_step, OP_fp_step_q);
    } else {
        by_width(instruction, f, OP_fp_add, OP_fp_add_q);
    }
}

static void decode_three_same(struct instruction *instruction, uint32_t word, const struct fields *f) {
    enum {
        LOGICAL = 0x03,
        SHIFT = 0x08,
        LAST_SHIFT = 0x0B,
        ABSOLUTE_DIFFERENCE_ACCUMULATE = 0x0F,
        MULTIPLY_ADD = 0x12,
        MULTIPLY = 0x13,
        MULTIPLY_HIGH = 0x16,
        FLOATING_POINT = 0x18
    };
    unsigned opcode = bits(word, 15, 11);
    read_two(instruction, f);
    if (opcode >= FLOATING_POINT) {
        decode_fp_three_same(instruction, f, opcode);
    } else if (opcode == MULTIPLY_ADD) {
        accumulate(instruction, f->rd);
        by_width(instruction, f, OP_vector_multiply_add, OP_vector_multiply_add_q);
    } else if (opcode == MULTIPLY || opcode == MULTIPLY_HIGH) {
        by_width(instruction, f, OP_vector_multiply, OP_vector_multiply_q);
    } else if (opcode == ABSOLUTE_DIFFERENCE_ACCUMULATE) {
        accumulate(instruction, f->rd);
        by_width(instruction, f, OP_vector_accumulate, OP_vector_accumulate_q);
    } else if (opcode >= SHIFT && opcode <= LAST_SHIFT) {
        by_width(instruction, f, OP_vector_shift_register, OP_vector_shift_register_q);
    } else {
        if (opcode == LOGICAL && f->u && f->size) /* BSL, BIT, BIF */
            read_vector(instruction, f->rd);
        perform(instruction, OP_vector_arithmetic);
    }
}

static void decode_three_different(struct instruction *instruction, uint32_t word, const struct fields *f) {
    enum { ADD_HIGH = 4, ABSOLUTE_DIFFERENCE_ACCUMULATE = 5, SUBTRACT_HIGH = 6, MULTIPLY_ADD = 8, MULTIPLY = 12 };
    unsigned opcode = bits(word, 15, 12);
    read_two(instruction, f);
    if (opcode >= MULTIPLY_ADD) {
        if (opcode < MULTIPLY)
            accumulate(instruction, f->rd);
        perform(instruction, OP_vector_multiply_long);
    } else if (opcode == ABSOLUTE_DIFFERENCE_ACCUMULATE) {
        accumulate(instruction, f->rd);
        perform(instruction, OP_vector_accumulate);
    } else {
        perform(instruction,
                opcode == ADD_HIGH || opcode == SUBTRACT_HIGH ? OP_vector_narrow_high : OP_vector_arithmetic);
    }
}

static void decode_two_registers(struct instruction *instruction, uint32_t word, const struct fields *f) {
    enum {
        PAIRWISE_ACCUMULATE = 0x06,
        FIRST_FP = 0x0C,
        LAST_FP = 0x0F,
        NARROW = 0x12,
        SHIFT_LONG = 0x13,
        NARROW_SATURATE = 0x14,
        FP_NARROW = 0x16,
        FP_LONG = 0x17,
        CONVERT = 0x18
    };
    unsigned opcode = bits(word, 16, 12);
    read_one(instruction, f);
    if (f->q && (opcode == NARROW || opcode == NARROW_SATURATE || opcode == FP_NARROW || opcode == FP_LONG))
        read_vector(instruction, f->rd); /* the other half is kept */
    if (opcode == PAIRWISE_ACCUMULATE) {
        accumulate(instruction, f->rd);
        by_width(instruction, f, OP_vector_accumulate, OP_vector_accumulate_q);
    } else if (opcode == NARROW) {
        perform(instruction, OP_vector_permute);
    } else if (opcode == NARROW_SATURATE) {
        perform(instruction, OP_vector_narrow_saturate);
    } else if (opcode == SHIFT_LONG) {
        perform(instruction, OP_vector_shift);
    } else if (opcode >= CONVERT) {
        by_width(instruction, f, OP_fp_convert, OP_fp_convert_q);
    } else if (opcode == FP_NARROW || opcode == FP_LONG) {
        perform(instruction, OP_fp_narrow);
    } else if (opcode >= FIRST_FP && opcode <= LAST_FP) {
        by_width(instruction, f, OP_fp_add, OP_fp_add_q);
    } else {
        perform(instruction, OP_vector_arithmetic);
    }
}

static void decode_copy(struct instruction *instruction, uint32_t word, const struct fields *f) {
    enum { DUPLICATE_ELEMENT = 0, DUPLICATE_GENERAL = 1, INSERT_GENERAL = 3 };
    unsigned opcode = bits(word, 14, 11);
    if (f->scalar || f->u || opcode == DUPLICATE_ELEMENT) {
        read_one(instruction, f);
        if (f->u && !f->scalar) /* INS of an element */
            read_vector(instruction, f->rd);
        perform(instruction, OP_vector_permute);
    } else if (opcode == DUPLICATE_GENERAL || opcode == INSERT_GENERAL) {
        read_general(instruction, f->rn);
        if (opcode == INSERT_GENERAL)
            read_vector(instruction, f->rd);
        write_vector(instruction, f->rd);
        perform(instruction, OP_duplicate_general);
    } else { /* SMOV, UMOV */
        read_vector(instruction, f->rn);
        write_general(instruction, f->rd);
        perform(instruction, OP_move_element_general);
    }
}

static void decode_permute(struct instruction *instruction, uint32_t word, const struct fields *f) {
    read_two(instruction, f);
    if (f->u || bits(word, 11, 10) != 0) { /* EXT, ZIP, UZP, TRN */
        perform(instruction, OP_vector_permute);
        return;
    }
    unsigned tables = bits(word, 14, 13) + 1;
    for (unsigned i = 1; i < tables; i++)
        read_vector(instruction, (f->rn + i) & 31);
    perform_on(instruction, f->wide ? OP_table_lookup_q : OP_table_lookup, tables);
}

static void decode_vectors(struct instruction *instruction, uint32_t word, const struct fields *f) {
    if (bits(word, 21, 21) && bits(word, 10, 10)) {
        decode_three_same(instruction, word, f);
    } else if (bits(word, 21, 21) && bits(word, 11, 10) == 0) {
        decode_three_different(instruction, word, f);
    } else if (bits(word, 21, 17) == 0x10) {
        decode_two_registers(instruction, word, f);
    } else if (bits(word, 21, 17) == 0x18) { /* across lanes */
        read_one(instruction, f);
        by_width(instruction, f, OP_vector_reduce, OP_vector_reduce_q);
    } else if (!bits(word, 21, 21) && bits(word, 15, 15) && bits(word, 10, 10)) { /* dot products */
        read_two(instruction, f);
        accumulate(instruction, f->rd);
        perform(instruction, OP_vector_multiply_long);
    } else if (bits(word, 23, 21) == 0 && !bits(word, 15, 15) && bits(word, 10, 10)) {
        decode_copy(instruction, word, f);
    } else {
        decode_permute(instruction, word, f);
    }
}

static void decode_by_element(struct instruction *instruction, uint32_t word, const struct fields *f) {
    enum { FP_MULTIPLY_ADD = 1, FP_MULTIPLY_SUBTRACT = 5, FP_MULTIPLY = 9 };
    /* By opcode, a bit each. */
    enum { LONG = 1 << 2 | 1 << 3 | 1 << 6 | 1 << 7 | 1 << 10 | 1 << 11 | 1 << 14, LONG_MULTIPLY = 1 << 10 | 1 << 11 };
    enum { ACCUMULATES = 1 << 0 | 1 << 4, HALF_WORDS = 1 };
    unsigned opcode = bits(word, 15, 12), mask = 1u << opcode;
    read_vector(instruction, f->rn);
    read_vector(instruction, f->size == HALF_WORDS ? bits(word, 19, 16) : f->rm);
    write_vector(instruction, f->rd);
    if (opcode == FP_MULTIPLY_ADD || opcode == FP_MULTIPLY_SUBTRACT) {
        accumulate(instruction, f->rd);
        by_width(instruction, f, OP_fp_multiply_add, OP_fp_multiply_add_q);
    } else if (opcode == FP_MULTIPLY) {
        by_width(instruction, f, OP_fp_multiply, OP_fp_multiply_q);
    } else if (mask & LONG) {
        if (!(mask & LONG_MULTIPLY))
            accumulate(instruction, f->rd);
        perform(instruction, OP_vector_multiply_long);
    } else if (mask & ACCUMULATES) {
        accumulate(instruction, f->rd);
        by_width(instruction, f, OP_vector_multiply_add, OP_vector_multiply_add_q);
    } else {
        by_width(instruction, f, OP_vector_multiply, OP_vector_multiply_q);
    }
}

static void decode_shift(struct instruction *instruction, uint32_t word, const struct fields *f) {
    enum {
        SHIFT_ACCUMULATE = 0x02,
        ROUNDING_SHIFT_ACCUMULATE = 0x06,
        NARROW = 0x10,
        LAST_NARROW = 0x13,
        CONVERT_FROM_FIXED = 0x1C,
        CONVERT_TO_FIXED = 0x1F
    };
    unsigned opcode = bits(word, 15, 11);
    read_one(instruction, f);
    if (opcode == SHIFT_ACCUMULATE || opcode == ROUNDING_SHIFT_ACCUMULATE) {
        accumulate(instruction, f->rd);
        perform(instruction, OP_vector_shift_accumulate);
    } else if (opcode == CONVERT_FROM_FIXED || opcode == CONVERT_TO_FIXED) {
        by_width(instruction, f, OP_fp_convert, OP_fp_convert_q);
    } else if (opcode >= NARROW && opcode <= LAST_NARROW) {
        if (f->q)
            read_vector(instruction, f->rd);
        perform(instruction, opcode == NARROW && !f->u ? OP_vector_shift : OP_vector_shift_complex);
    } else {
        perform(instruction, OP_vector_shift);
    }
}

static void decode_immediate(struct instruction *instruction, uint32_t word, const struct fields *f) {
    unsigned mode = bits(word, 15, 12);
    write_vector(instruction, f->rd);
    if (mode & 1 && mode < 12) /* ORR, BIC */
        read_vector(instruction, f->rd);
    perform(instruction, OP_vector_arithmetic);
}

void decode_vector(struct instruction *instruction, uint32_t word) {
    struct fields f = fields_of(word);
    unsigned group = bits(word, 28, 24), vector = bits(word, 31, 30) == 1;
    if (group == 0x1E && !vector)
        decode_scalar(instruction, word, &f);
    else if (group == 0x1F && !vector)
        decode_scalar_multiply_add(instruction, word, &f);
    else if ((group & 0xF) == 0xE)
        decode_vectors(instruction, word, &f);
    else if (!bits(word, 10, 10))
        decode_by_element(instruction, word, &f);
    else if (bits(word, 22, 19) == 0 && !f.scalar)
        decode_immediate(instruction, word, &f);
    else
        decode_shift(instruction, word, &f);
}

#include "predictor.h"

#include "parameters.h"

enum { INDEX_BITS = 14, ENTRIES = 1 << INDEX_BITS, RETURNS = 16, MOST_TRUST = 3 };

static uint64_t by_history[ENTRIES], by_address[ENTRIES]; /* targets */
static uint8_t trust_in_history[ENTRIES];                 /* 0 to 3; from 2 the history decides */
static uint64_t history;
static uint64_t returns[RETURNS];
static unsigned top;

/* Spreads the history over the index (Knuth's multiplicative hash with 2^64 divided by the golden ratio). */
static unsigned hash_history(void) { return (unsigned)(history * 0x9E3779B97F4A7C15u >> (64 - INDEX_BITS)); }

static int predict_target(uint64_t start, uint64_t end, uint64_t next) {
    unsigned local = (unsigned)(start >> 2) & (ENTRIES - 1), global = local ^ hash_history();
    int history_right = by_history[global] == next, address_right = by_address[local] == next;
    int wrong = trust_in_history[local] >= 2 ? !history_right : !address_right;
    if (history_right && !address_right && trust_in_history[local] < MOST_TRUST)
        trust_in_history[local]++;
    if (address_right && !history_right && trust_in_history[local] > 0)
        trust_in_history[local]--;
    by_history[global] = by_address[local] = next;
    history = (history << 1 | (next != end)) & ((1u << parameters.history_branches) - 1);
    return wrong;
}

int mispredicts(enum branch branch, uint64_t start, uint64_t end, uint64_t next) {
    switch (branch) {
    case BRANCH_CONDITIONAL:
    case BRANCH_INDIRECT:
        return predict_target(start, end, next);
    case BRANCH_CALL:
        returns[top] = end;
        top = (top + 1) % RETURNS;
        return 0;
    case BRANCH_RETURN:
        top = (top + RETURNS - 1) % RETURNS;
        return returns[top] != next;
    default:
        return 0;
    }
}

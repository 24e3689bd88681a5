/* Reads operations.txt. */

#include "operations.h"

#include "data_file.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct cost costs[OPERATION_COUNT];

#define OPERATION_NAME(name) #name,
static const char *const NAMES[OPERATION_COUNT] = {OPERATIONS(OPERATION_NAME)};
#undef OPERATION_NAME

static const char *const PIPE_NAMES[PIPES] = {"B", "I", "M", "L", "S", "F0", "F1", "F"};
static const char *const CHAIN_NAMES[] = {"-", "fp", "mul", "acc"};
static const char REPEAT_LETTERS[] = "-NHW";

static int find(const char *const *names, int count, const char *name, size_t length) {
    for (int i = 0; i < count; i++)
        if (strlen(names[i]) == length && strncmp(names[i], name, length) == 0)
            return i;
    return -1;
}

static int repeat_of(char letter) {
    const char *found = letter ? strchr(REPEAT_LETTERS, letter) : NULL;
    return found ? (int)(found - REPEAT_LETTERS) : -1;
}

/* A step is PIPE, PIPE+N (as many as registers), PIPExCYCLES or PIPEx+N (as many cycles as registers). */
static int read_step(struct step *step, const char *text, size_t length) {
    size_t name = strcspn(text, "+x,");
    int pipe = find(PIPE_NAMES, PIPES, text, name < length ? name : length), repeat = ONCE;
    const char *rest = text + name;
    *step = (struct step){.count = ONCE, .cycles = 1};
    if (name < length) {
        if (rest[0] == '+') {
            repeat = repeat_of(rest[1]);
            step->count = (uint8_t)repeat;
        } else if (rest[1] == '+') {
            repeat = repeat_of(rest[2]);
            step->cycles_by = (uint8_t)repeat;
        } else {
            step->cycles = (uint8_t)atoi(rest + 1);
        }
    }
    step->pipe = (uint8_t)pipe;
    return pipe < 0 || repeat < 0 || step->cycles == 0;
}

static int read_steps(struct cost *cost, const char *text) {
    cost->steps = 0;
    for (;;) {
        size_t length = strcspn(text, ",");
        if (cost->steps == sizeof cost->step / sizeof *cost->step)
            return 1;
        if (read_step(&cost->step[cost->steps++], text, length))
            return 1;
        if (!text[length])
            return 0;
        text += length + 1;
    }
}

static const char *name_of(int index) {
    return NAMES[index];
}

static int read_entry(const char *line) {
    char name[64], chain[8], pipes[64];
    unsigned latency, more, forward;
    if (sscanf(line, "%63s %u %u %7s %u %63s", name, &latency, &more, chain, &forward, pipes) != 6)
        return -1;
    int operation = find(NAMES, OPERATION_COUNT, name, strlen(name));
    int which = find(CHAIN_NAMES, sizeof CHAIN_NAMES / sizeof *CHAIN_NAMES, chain, strlen(chain));
    if (operation < 0 || which < 0)
        return -1;
    struct cost *cost = &costs[operation];
    cost->latency = (uint8_t)latency;
    cost->latency_per_register = (uint8_t)more;
    cost->chain = (uint8_t)which;
    cost->chain_latency = (uint8_t)forward;
    return read_steps(cost, pipes) ? -1 : operation;
}

int read_operations(const char *path) {
    static const struct data_file OPERATIONS_FILE = {"an operation", OPERATION_COUNT, name_of, read_entry};
    return read_data_file(path, &OPERATIONS_FILE);
}

/* Reads parameters.txt. */

#include "parameters.h"

#include "data_file.h"

#include <limits.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct parameters parameters;

#define PARAMETER_ENTRY(name) {#name, &parameters.name},
static const struct {
    const char *name;
    int *value;
} ENTRIES[] = {PARAMETERS(PARAMETER_ENTRY)};
#undef PARAMETER_ENTRY
enum { COUNT = sizeof ENTRIES / sizeof *ENTRIES };

static int find(const char *name, size_t length) {
    for (int i = 0; i < COUNT; i++)
        if (strlen(ENTRIES[i].name) == length && strncmp(ENTRIES[i].name, name, length) == 0)
            return i;
    return -1;
}

int set_parameter(const char *assignment) {
    size_t length = strcspn(assignment, "=");
    int index = find(assignment, length);
    char *end = NULL;
    long value = assignment[length] ? strtol(assignment + length + 1, &end, 10) : -1;
    if (index < 0 || !end || *end || value < 0 || value > INT_MAX) {
        fprintf(stderr, "cortex_a72: %s: expected a parameter of parameters.txt, = and a whole number\n", assignment);
        return 1;
    }
    *ENTRIES[index].value = (int)value;
    return 0;
}

static int check(const char *name, int value, int least, int most) {
    if (value >= least && value <= most)
        return 0;
    fprintf(stderr, "cortex_a72: %s is %d: expected %d to %d\n", name, value, least, most);
    return 1;
}

int check_parameters(void) {
    return check("reorder_entries", parameters.reorder_entries, 1, MOST_REORDER_ENTRIES) ||
           check("queue_vector", parameters.queue_vector, 1, MOST_QUEUE_ENTRIES) ||
           check("queue_memory", parameters.queue_memory, 1, MOST_QUEUE_ENTRIES) ||
           check("queue_integer", parameters.queue_integer, 1, MOST_QUEUE_ENTRIES / 2) ||
           check("store_buffer_entries", parameters.store_buffer_entries, 1, MOST_STORE_BUFFER_ENTRIES) ||
           check("miss_registers", parameters.miss_registers, 1, MOST_MISS_REGISTERS) ||
           check("dispatch_width", parameters.dispatch_width, 1, INT_MAX) ||
           check("commit_width", parameters.commit_width, 1, INT_MAX) ||
           check("history_branches", parameters.history_branches, 0, 32);
}

static const char *name_of(int index) {
    return ENTRIES[index].name;
}

static int read_entry(const char *line) {
    char name[64];
    int value;
    if (sscanf(line, "%63s %d", name, &value) != 2 || value < 0)
        return -1;
    int index = find(name, strlen(name));
    if (index >= 0)
        *ENTRIES[index].value = value;
    return index;
}

int read_parameters(const char *path) {
    static const struct data_file PARAMETERS_FILE = {"a parameter", COUNT, name_of, read_entry};
    return read_data_file(path, &PARAMETERS_FILE);
}

/* A QEMU plugin that estimates how many cycles a Cortex-A72 takes for what one thread of an aarch64 guest does between
 * marks.
 *
 * The guest marks with getpriority(0x4452, tag), which the kernel refuses: an odd tag starts, an even one stops and
 * appends a line of JSON to the file that the plugin was given. With events=1, two kinds of event in between append
 * their cycle, which times the parts of an inference: calls of clock_gettime, which the profilers of engines make, and
 * writes of the control register of floating point, by which XNNPACK switches denormals off before each operator's work
 * and on again after it.
 *
 *     qemu-aarch64 -plugin file=cortex_a72.so,model=FOLDER,out=FILE[,events=1][,PARAMETER=VALUE...] ...
 *
 * FOLDER has parameters.txt and operations.txt. Nothing before the first mark is followed, so it costs little. */

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core.h"
#include "counters.h"
#include "decode.h"
#include "operations.h"
#include "parameters.h"
#include "predictor.h"
#include "qemu_plugin.h"

EXPORT int qemu_plugin_version = 1;

enum { GETPRIORITY = 141, CLOCK_GETTIME = 113, MARK = 0x4452, MOST_INSTRUCTIONS = 1024, MOST_PATH = 4096 };

/* A block of the guest as QEMU translates it: it runs from its first instruction to its last. */
struct block {
    uint64_t start, end;
    size_t length;
    struct instruction instructions[];
};

struct counters counters;

static FILE *out;
static int writes_events;
static volatile int is_on;
static int is_instrumented;
static uint64_t start_cycle;

/* A block is followed once it has run, when its addresses are known: at the beginning of the next. */
static const struct block *running;
static uint64_t addresses[MOST_INSTRUCTIONS];

static uint64_t address_of(const struct block *block, size_t index) {
    const struct instruction *instruction = &block->instructions[index];
    if (instruction->access != ACCESS_PREFETCH)
        return addresses[index];
    /* QEMU does nothing for a prefetch, so its address comes from the next access with the same base. */
    int other = instruction->same_base_as;
    if (other < 0 || !addresses[other])
        return 0;
    return addresses[other] - (uint64_t)(int64_t)block->instructions[other].offset +
           (uint64_t)(int64_t)instruction->offset;
}

static void follow(const struct block *block, uint64_t next) {
    uint64_t issued = 0;
    for (size_t i = 0; i < block->length; i++) {
        int accesses = block->instructions[i].access != ACCESS_NONE;
        issued = run_instruction(&block->instructions[i], accesses ? address_of(block, i) : 0);
    }
    enum branch branch = block->instructions[block->length - 1].branch;
    if (branch != BRANCH_NONE && mispredicts(branch, block->start, block->end, next)) {
        counters.mispredicts++;
        refill_after_branch(issued);
    }
}

static void begin_block(unsigned vcpu, void *data) {
    const struct block *block = data;
    if (!is_on || vcpu)
        return;
    if (running)
        follow(running, block->start);
    memset(addresses, 0, block->length * sizeof *addresses);
    running = block;
}

static void note_address(unsigned vcpu, uint32_t information UNUSED, uint64_t address, void *data) {
    size_t index = (uintptr_t)data;
    /* The first of those that an instruction makes: the rest follow it. */
    if (is_on && !vcpu && !addresses[index])
        addresses[index] = address;
}

/* The next load or store that has the prefetch's base register while that still has its value, or -1. */
static int find_same_base(const struct block *block, size_t prefetch) {
    uint8_t base = block->instructions[prefetch].base;
    for (size_t i = prefetch + 1; i < block->length; i++) {
        const struct instruction *other = &block->instructions[i];
        if ((other->access == ACCESS_LOAD || other->access == ACCESS_STORE) && other->base == base)
            return (int)i;
        for (int written = 0; written < other->destination_count; written++)
            if (other->destinations[written] == base)
                return -1;
    }
    return -1;
}

static void write_event(const char *event) {
    fprintf(out, "{\"%s\": %" PRIu64 "}\n", event, current_cycle() - start_cycle);
}

static void see_fp_control(unsigned vcpu, void *data UNUSED) {
    if (is_on && !vcpu)
        write_event("fp_control");
}

static int writes_fp_control(uint32_t word) { return (word & ~31u) == 0xD51B4400u; /* MSR FPCR */ }

static void translate_block(plugin_id id UNUSED, struct qemu_block *translated) {
    size_t length = qemu_plugin_tb_n_insns(translated);
    struct block *block = calloc(1, sizeof *block + length * sizeof *block->instructions);
    if (!block || length > MOST_INSTRUCTIONS) {
        fprintf(stderr, "cortex_a72: a block of %zu instructions: no memory, or more than %d\n", length,
                MOST_INSTRUCTIONS);
        exit(1);
    }
    block->start = qemu_plugin_tb_vaddr(translated);
    block->end = block->start + 4 * length;
    block->length = length;
    for (size_t i = 0; i < length; i++) {
        struct qemu_instruction *instruction = qemu_plugin_tb_get_insn(translated, i);
        uint32_t word;
        memcpy(&word, qemu_plugin_insn_data(instruction), sizeof word);
        decode(&block->instructions[i], word);
        if (writes_events && writes_fp_control(word))
            qemu_plugin_register_vcpu_insn_exec_cb(instruction, see_fp_control, NO_REGISTERS, NULL);
        if (block->instructions[i].access == ACCESS_LOAD || block->instructions[i].access == ACCESS_STORE)
            qemu_plugin_register_vcpu_mem_cb(instruction, note_address, NO_REGISTERS, READS_AND_WRITES, (void *)i);
    }
    for (size_t i = 0; i < length; i++)
        if (block->instructions[i].access == ACCESS_PREFETCH)
            block->instructions[i].same_base_as = (int16_t)find_same_base(block, i);
    qemu_plugin_register_vcpu_tb_exec_cb(translated, begin_block, NO_REGISTERS, block);
}

static void start(void) {
    memset(&counters, 0, sizeof counters);
    start_cycle = current_cycle();
    running = NULL;
    is_on = 1;
}

static void stop(uint64_t tag) {
    is_on = 0;
    fprintf(out, "{\"tag\": %" PRIu64 ", \"cycles\": %" PRIu64, tag, current_cycle() - start_cycle);
#define WRITE_COUNTER(name) fprintf(out, ", \"" #name "\": %" PRIu64, counters.name);
    COUNTERS(WRITE_COUNTER)
#undef WRITE_COUNTER
    fprintf(out, "}\n");
    fflush(out);
}

static void see_system_call(plugin_id id, unsigned vcpu, int64_t number, uint64_t which, uint64_t tag, uint64_t a3,
                            uint64_t a4, uint64_t a5, uint64_t a6, uint64_t a7, uint64_t a8);

static void instrument(plugin_id id) {
    qemu_plugin_register_vcpu_tb_trans_cb(id, translate_block);
    qemu_plugin_register_vcpu_syscall_cb(id, see_system_call);
}

static void see_system_call(plugin_id id, unsigned vcpu, int64_t number, uint64_t which, uint64_t tag,
                            uint64_t a3 UNUSED, uint64_t a4 UNUSED, uint64_t a5 UNUSED, uint64_t a6 UNUSED,
                            uint64_t a7 UNUSED, uint64_t a8 UNUSED) {
    if (number == CLOCK_GETTIME && writes_events && is_on && !vcpu)
        write_event("clock");
    if (number != GETPRIORITY || which != MARK)
        return;
    if (!(tag & 1)) {
        stop(tag);
        return;
    }
    start();
    if (!is_instrumented) {
        /* What is translated already is translated again. */
        is_instrumented = 1;
        qemu_plugin_reset(id, instrument);
    }
}

static int read_model(const char *folder) {
    char path[MOST_PATH];
    snprintf(path, sizeof path, "%s/parameters.txt", folder);
    if (read_parameters(path))
        return 1;
    snprintf(path, sizeof path, "%s/operations.txt", folder);
    return read_operations(path);
}

static const char *value_of(const char *argument, const char *option) {
    size_t length = strlen(option);
    return strncmp(argument, option, length) == 0 ? argument + length : NULL;
}

static int open_output(const char *path) {
    out = fopen(path, "a");
    if (!out)
        perror(path);
    return !out;
}

/* The model's folder comes first, whatever the order: parameters on the command line replace those of its files. */
static int read_arguments(int argc, char **argv) {
    int wrong = 0, has_model = 0;
    const char *value;
    for (int i = 0; i < argc && !wrong; i++)
        if ((value = value_of(argv[i], "model="))) {
            has_model = 1;
            wrong = read_model(value);
        }
    for (int i = 0; i < argc && !wrong; i++) {
        if (value_of(argv[i], "model="))
            continue;
        if ((value = value_of(argv[i], "out=")))
            wrong = open_output(value);
        else if ((value = value_of(argv[i], "events=")))
            writes_events = atoi(value);
        else
            wrong = set_parameter(argv[i]);
    }
    if (!wrong && (!has_model || !out)) {
        fprintf(stderr, "cortex_a72: needs model=FOLDER and out=FILE\n");
        return 1;
    }
    return wrong || check_parameters();
}

EXPORT int qemu_plugin_install(plugin_id id, const void *machine UNUSED, int argc, char **argv) {
    if (read_arguments(argc, argv))
        return 1;
    qemu_plugin_register_vcpu_syscall_cb(id, see_system_call);
    return 0;
}

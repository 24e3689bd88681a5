/* An out-of-order core: micro-operations are dispatched in order, at most three a cycle, wait in their pipe's queue for
 * registers, take the first free cycle of their pipe, and commit in order. */

#include "core.h"

#include <string.h>

#include "counters.h"
#include "memory.h"
#include "parameters.h"

/* Which cycles of a pipe are taken: a ring of 64 words of 64 cycles each. */
enum { RING = 64, CYCLES_OF_A_WORD = 64 };
struct calendar {
    uint64_t taken[RING], word[RING];
};

struct result {
    uint64_t ready, ready_in_chain;
    uint8_t chain;
};

static struct result results[REGISTERS];
static struct calendar calendars[PIPES], second_integer;
static uint64_t queues[PIPES][MOST_QUEUE_ENTRIES]; /* when each entry issues */
static uint64_t reorder[MOST_REORDER_ENTRIES], store_buffer[MOST_STORE_BUFFER_ENTRIES]; /* when each entry is free */
static unsigned reorder_next, store_next;
static uint64_t dispatch_cycle, commit_cycle;
static int dispatched, committed, dispatched_to[PIPES];
static unsigned vector_turn;

/* Arm UAN 0016A, dispatch constraints: what each pipe takes in a cycle; loads and stores count together. */
static const int DISPATCH_LIMITS[PIPES] = {
    [PIPE_B] = 1, [PIPE_I] = 2, [PIPE_M] = 1, [PIPE_L] = 2, [PIPE_S] = 2, [PIPE_F0] = 1, [PIPE_F1] = 1};

static uint64_t later(uint64_t a, uint64_t b) { return a > b ? a : b; }

static uint64_t *word_of(struct calendar *calendar, uint64_t time) {
    unsigned index = time / CYCLES_OF_A_WORD % RING;
    if (calendar->word[index] != time / CYCLES_OF_A_WORD) {
        calendar->word[index] = time / CYCLES_OF_A_WORD;
        calendar->taken[index] = 0;
    }
    return &calendar->taken[index];
}

/* Takes the first free cycle of a pipe from `time` on. */
static uint64_t take_cycle(struct calendar *calendar, uint64_t time) {
    for (;;) {
        uint64_t *word = word_of(calendar, time), open = ~*word >> time % CYCLES_OF_A_WORD;
        if (open) {
            time += (unsigned)__builtin_ctzll(open);
            *word |= 1ull << time % CYCLES_OF_A_WORD;
            return time;
        }
        time = (time | (CYCLES_OF_A_WORD - 1)) + 1;
    }
}

/* The same of the two integer pipes, whichever is free first. */
static uint64_t take_integer_cycle(uint64_t time) {
    for (;;) {
        unsigned bit = time % CYCLES_OF_A_WORD;
        uint64_t *one = word_of(&calendars[PIPE_I], time), *two = word_of(&second_integer, time);
        uint64_t open = (~*one | ~*two) >> bit;
        if (open) {
            time += (unsigned)__builtin_ctzll(open);
            bit = time % CYCLES_OF_A_WORD;
            uint64_t *word = *one >> bit & 1 ? two : one;
            *word |= 1ull << bit;
            return time;
        }
        time = (time | (CYCLES_OF_A_WORD - 1)) + 1;
    }
}

static void begin_cycle(uint64_t cycle) {
    dispatch_cycle = cycle;
    dispatched = 0;
    memset(dispatched_to, 0, sizeof dispatched_to);
}

/* Dispatches nothing before `cycle`. */
static void stall_until(uint64_t cycle, uint64_t *counter) {
    if (cycle > dispatch_cycle) {
        *counter += cycle - dispatch_cycle;
        begin_cycle(cycle);
    }
}

static int queue_size(enum pipe pipe) {
    switch (pipe) {
    case PIPE_F0:
    case PIPE_F1:
        return parameters.queue_vector;
    case PIPE_L:
    case PIPE_S:
        return parameters.queue_memory;
    case PIPE_I:
        return 2 * parameters.queue_integer;
    default:
        return parameters.queue_integer;
    }
}

/* The queue entry that is free first. */
static uint64_t *queue_entry(enum pipe pipe) {
    uint64_t *first = queues[pipe], *end = first + queue_size(pipe);
    for (uint64_t *each = first + 1; each < end; each++)
        if (*each < *first)
            first = each;
    return first;
}

/* Waits for everything that one micro-operation needs to be dispatched; returns its queue entry. */
static uint64_t *dispatch(enum pipe pipe, int takes_store_buffer) {
    int *in_this_cycle = &dispatched_to[pipe == PIPE_S ? PIPE_L : pipe];
    if (dispatched >= parameters.dispatch_width || *in_this_cycle >= DISPATCH_LIMITS[pipe])
        begin_cycle(dispatch_cycle + 1);
    stall_until(reorder[reorder_next], &counters.stalls_reorder);
    uint64_t *entry = queue_entry(pipe);
    stall_until(*entry, &counters.stalls_queue);
    if (takes_store_buffer)
        stall_until(store_buffer[store_next], &counters.stalls_store_buffer);
    dispatched++;
    ++*in_this_cycle;
    return entry;
}

static void commit(uint64_t done) {
    if (done > commit_cycle) {
        commit_cycle = done;
        committed = 1;
    } else if (++committed > parameters.commit_width) {
        commit_cycle++;
        committed = 1;
    }
    reorder[reorder_next] = commit_cycle;
    reorder_next = (reorder_next + 1) % (unsigned)parameters.reorder_entries;
    counters.micro_ops++;
}

static uint64_t operands_ready(const struct instruction *instruction) {
    uint64_t ready = 0;
    for (int i = 0; i < instruction->source_count; i++)
        ready = later(ready, results[instruction->sources[i]].ready);
    if (instruction->accumulator != NO_REGISTER) {
        const struct result *accumulator = &results[instruction->accumulator];
        int forwarded = accumulator->chain == instruction->chain;
        ready = later(ready, forwarded ? accumulator->ready_in_chain : accumulator->ready);
    }
    return ready;
}

/* Reads what an instruction loads or prefetches; when the last line is there. */
static uint64_t load(const struct instruction *instruction, uint64_t address, uint64_t time) {
    uint64_t start = time + translate(address), ready = start;
    for (uint64_t line = address >> LINE_SHIFT; line <= (address + instruction->bytes - 1) >> LINE_SHIFT; line++)
        ready = later(ready, read_line(line, start));
    return ready;
}

/* Writes what an instruction stores, once it and all before it have committed; holds a store buffer entry until then. */
static void store(const struct instruction *instruction, uint64_t address, uint64_t time) {
    uint64_t committed_at = later(time, commit_cycle), start = committed_at + translate(address), done = committed_at;
    for (uint64_t line = address >> LINE_SHIFT; line <= (address + instruction->bytes - 1) >> LINE_SHIFT; line++)
        done = later(done, write_line(line, start));
    store_buffer[store_next] = done + 1;
    store_next = (store_next + 1) % (unsigned)parameters.store_buffer_entries;
}

/* When the data of an access that issues at `time` are there: for a store and a prefetch nothing waits. */
static uint64_t access_memory(const struct instruction *instruction, uint64_t address, uint64_t time) {
    if (!address)
        return time;
    if (instruction->access == ACCESS_STORE) {
        store(instruction, address, time);
        return time;
    }
    uint64_t ready = load(instruction, address, time);
    return instruction->access == ACCESS_LOAD ? ready : time;
}

/* When the results are there: in general, and for an operation of the same chain. */
static void write_results(const struct instruction *instruction, uint64_t issued, uint64_t data) {
    uint64_t ready = issued + instruction->latency, in_chain = issued + instruction->chain_latency;
    if (instruction->access == ACCESS_LOAD)
        ready = later(data + instruction->latency, issued + 1);
    for (int i = 0; i < instruction->destination_count; i++)
        results[instruction->destinations[i]] = (struct result){ready, in_chain, instruction->chain};
}

uint64_t run_instruction(const struct instruction *instruction, uint64_t address) {
    uint64_t operands = operands_ready(instruction), issued = 0, data = 0;
    int accessed = 0;
    counters.instructions++;
    for (int i = 0; i < instruction->micro_op_count; i++) {
        enum pipe pipe = instruction->micro_ops[i].pipe;
        int is_base_update = pipe == PIPE_I && instruction->written_base != NO_REGISTER;
        int accesses = !accessed && instruction->access != ACCESS_NONE && (pipe == PIPE_L || pipe == PIPE_S);
        if (pipe == PIPE_F)
            pipe = vector_turn++ & 1 ? PIPE_F1 : PIPE_F0;
        uint64_t *entry = dispatch(pipe, accesses && pipe == PIPE_S);
        uint64_t ready = is_base_update ? results[instruction->written_base].ready : operands;
        uint64_t time = later(ready, dispatch_cycle + 1);
        time = pipe == PIPE_I ? take_integer_cycle(time) : take_cycle(&calendars[pipe], time);
        *entry = time;
        uint64_t done = time + 1;
        if (is_base_update)
            results[instruction->written_base] = (struct result){time + 1, 0, CHAIN_NONE};
        else
            issued = later(issued, time);
        if (accesses) {
            accessed = 1;
            data = access_memory(instruction, address, time);
        }
        if (instruction->access == ACCESS_LOAD)
            done = later(done, data + instruction->latency);
        else if (instruction->access != ACCESS_STORE)
            done = later(done, time + instruction->latency);
        commit(done);
        for (int cycle = 1; cycle < instruction->micro_ops[i].cycles; cycle++)
            take_cycle(&calendars[pipe], issued + 1);
    }
    write_results(instruction, issued, data);
    return issued;
}

void refill_after_branch(uint64_t issued) {
    stall_until(issued + (uint64_t)parameters.mispredict_penalty, &counters.stalls_branch);
}

uint64_t current_cycle(void) { return later(commit_cycle, dispatch_cycle); }

/* L1 and L2 data caches, the stream prefetcher and the bus to DRAM. */

#include "memory.h"

#include <stddef.h>

#include "counters.h"
#include "parameters.h"

/* Arm Cortex-A72 TRM; BCM2711: 32 KiB in 2 ways, and 1 MiB in 16 ways. */
enum { L1_SETS = 256, L1_WAYS = 2, L2_SETS = 1024, L2_WAYS = 16 };
/* The prefetcher follows this many streams, whose lines are at most this far apart. */
enum { STREAMS = 16, LARGEST_STRIDE = 4, MOST_CONFIDENCE = 4, LINES_OF_A_PAGE_SHIFT = 6 };

struct cached_line {
    uint64_t line, ready;
    uint32_t used;
    uint8_t dirty, prefetched;
};

struct stream {
    uint64_t last, furthest; /* lines: last read, furthest prefetched */
    int64_t stride;
    int confidence;
    uint32_t used;
};

static struct cached_line l1[L1_SETS][L1_WAYS], l2[L2_SETS][L2_WAYS];
static struct stream streams[STREAMS];
static uint32_t clock;
static uint64_t miss_registers[MOST_MISS_REGISTERS]; /* when each is free */
static uint64_t last_written_line, lines_written_in_order;
/* When each is free: the bus, its read and its write channel, the path from L2 to L1. */
static double bus_free, read_free, write_free, l2_free;

static struct cached_line *find(struct cached_line *set, int ways, uint64_t line) {
    for (int i = 0; i < ways; i++)
        if (set[i].line == line)
            return &set[i];
    return NULL;
}

static struct cached_line *find_l1(uint64_t line) { return find(l1[line % L1_SETS], L1_WAYS, line); }
static struct cached_line *find_l2(uint64_t line) { return find(l2[line % L2_SETS], L2_WAYS, line); }

static struct cached_line *least_recent(struct cached_line *set, int ways) {
    struct cached_line *oldest = set;
    for (int i = 1; i < ways; i++)
        if (set[i].used < oldest->used)
            oldest = &set[i];
    return oldest;
}

static double later(double a, double b) { return a > b ? a : b; }
static uint64_t later_cycle(uint64_t a, uint64_t b) { return a > b ? a : b; }

static void use_bus(uint64_t time) { bus_free = later(bus_free, (double)time) + parameters.bus_line; }

/* Reads a line from DRAM; when the bus begins with it. */
static uint64_t read_memory(uint64_t time) {
    double start = later(later((double)time, bus_free), read_free);
    use_bus(time);
    read_free = start + parameters.read_line;
    counters.lines_read++;
    return (uint64_t)start;
}

/* Writes a line to DRAM; when the write queue has room for it. */
static uint64_t write_memory(uint64_t time) {
    double start = later((double)time, write_free);
    use_bus(time);
    write_free = start + parameters.write_line;
    counters.lines_written++;
    return (uint64_t)later((double)time, write_free - parameters.write_queue_lines * parameters.write_line);
}

/* Brings a line into L2, for a load or for the prefetcher; when it is there. */
static uint64_t fill_l2(uint64_t line, uint64_t time, int is_prefetch) {
    struct cached_line *entry = find_l2(line);
    if (entry) {
        entry->used = ++clock;
        if (!is_prefetch && entry->ready > time)
            counters.late_prefetches++;
        return later_cycle(entry->ready, time);
    }
    if (is_prefetch)
        counters.prefetches++;
    else
        counters.l2_misses++;
    entry = least_recent(l2[line % L2_SETS], L2_WAYS);
    if (entry->line && entry->dirty) {
        uint64_t room = write_memory(time);
        if (!is_prefetch)
            time = room;
    }
    uint64_t ready = read_memory(time) + (uint64_t)parameters.memory_latency;
    *entry = (struct cached_line){.line = line, .ready = ready, .used = ++clock};
    return ready;
}

/* The path from L2 to L1 carries one more line from `time` on; returns when it begins. */
static double use_l2_path(double time) {
    double start = later(l2_free, time);
    l2_free = start + parameters.l2_line_occupancy;
    return start;
}

/* Puts a line into L1, and what it replaces back into L2. */
static struct cached_line *fill_l1(uint64_t line, uint64_t ready, int dirty, uint64_t time) {
    struct cached_line *entry = least_recent(l1[line % L1_SETS], L1_WAYS);
    if (entry->line && entry->dirty) {
        struct cached_line *below = find_l2(entry->line);
        if (below)
            below->dirty = 1;
        else
            write_memory(time);
        use_l2_path((double)time);
    }
    *entry = (struct cached_line){.line = line, .ready = ready, .used = ++clock, .dirty = (uint8_t)dirty};
    return entry;
}

/* The stream that a line continues; NULL where it is a stream's last line, or begins one in place of the oldest. */
static struct stream *find_stream(uint64_t line) {
    struct stream *found = NULL, *oldest = streams;
    for (struct stream *stream = streams; stream < streams + STREAMS; stream++) {
        int64_t distance = (int64_t)(line - stream->last);
        if (distance == 0) {
            stream->used = clock;
            return NULL;
        }
        if (distance >= -LARGEST_STRIDE && distance <= LARGEST_STRIDE && stream->last) {
            found = stream;
            if (distance == stream->stride)
                break;
        }
        if (stream->used < oldest->used)
            oldest = stream;
    }
    if (found)
        return found;
    *oldest = (struct stream){.last = line, .used = clock};
    return NULL;
}

static int may_follow(uint64_t line, uint64_t next) {
    return parameters.prefetch_across_pages || next >> LINES_OF_A_PAGE_SHIFT == line >> LINES_OF_A_PAGE_SHIFT;
}

static void prefetch_to_l2(struct stream *stream, uint64_t line, uint64_t time) {
    for (int i = 1; i <= parameters.prefetch_distance_l2; i++) {
        uint64_t next = line + (uint64_t)(stream->stride * i);
        if (!may_follow(line, next))
            break;
        int done = stream->stride > 0 ? next <= stream->furthest : next >= stream->furthest;
        if (stream->furthest && done)
            continue;
        fill_l2(next, time, 1);
        stream->furthest = next;
    }
}

static void prefetch_to_l1(const struct stream *stream, uint64_t line, uint64_t time) {
    for (int i = 1; i <= parameters.prefetch_distance_l1; i++) {
        uint64_t next = line + (uint64_t)(stream->stride * i);
        if (!may_follow(line, next))
            break;
        struct cached_line *source = find_l1(next) ? NULL : find_l2(next);
        if (!source)
            continue;
        uint64_t ready = later_cycle(source->ready, time);
        /* The path is busy from then on, and the line is not delayed by what is on it. */
        use_l2_path((double)ready);
        fill_l1(next, ready + (uint64_t)parameters.l2_latency, 0, time)->prefetched = 1;
    }
}

static void train_prefetcher(uint64_t line, uint64_t time) {
    struct stream *stream = find_stream(line);
    if (!stream)
        return;
    int64_t stride = (int64_t)(line - stream->last);
    if (stride == stream->stride) {
        if (stream->confidence < MOST_CONFIDENCE)
            stream->confidence++;
    } else {
        stream->stride = stride;
        stream->confidence = 1;
        stream->furthest = 0;
    }
    stream->last = line;
    stream->used = clock;
    if (stream->confidence >= parameters.prefetch_confidence) {
        prefetch_to_l2(stream, line, time);
        prefetch_to_l1(stream, line, time);
    }
}

/* A line that is in neither cache, from L2 or memory to L1. */
static uint64_t miss(uint64_t line, uint64_t time, int dirty) {
    uint64_t *free = miss_registers;
    for (uint64_t *each = miss_registers; each < miss_registers + parameters.miss_registers; each++)
        if (*each < *free)
            free = each;
    time = later_cycle(*free, time);
    double ready = (double)fill_l2(line, time, 0), start = use_l2_path(ready);
    *free = (uint64_t)ready + (uint64_t)parameters.l2_latency + (uint64_t)(start - ready);
    fill_l1(line, *free, dirty, time);
    return *free;
}

/* Whether a line that is written continues a run of lines in order, which goes past L1. */
static int is_streamed(uint64_t line) {
    if (line == last_written_line + 1)
        lines_written_in_order++;
    else if (line != last_written_line)
        lines_written_in_order = 0;
    last_written_line = line;
    return parameters.write_streaming && lines_written_in_order > (uint64_t)parameters.write_streaming_after;
}

/* A whole line written to L2: nothing is read from memory for it. */
static uint64_t stream_line(uint64_t line, uint64_t time) {
    enum { CYCLES = 2 };
    uint64_t done = time + CYCLES;
    struct cached_line *entry = find_l2(line);
    if (entry) {
        entry->dirty = 1;
        entry->used = ++clock;
        return done;
    }
    entry = least_recent(l2[line % L2_SETS], L2_WAYS);
    if (entry->line && entry->dirty)
        done = later_cycle(write_memory(time), done);
    *entry = (struct cached_line){.line = line, .ready = time, .used = ++clock, .dirty = 1};
    return done;
}

uint64_t read_line(uint64_t line, uint64_t time) {
    struct cached_line *entry = find_l1(line);
    if (!entry) {
        counters.l1_misses++;
        train_prefetcher(line, time);
        return miss(line, time, 0);
    }
    int was_prefetched = entry->prefetched;
    uint64_t ready = later_cycle(entry->ready, time);
    entry->used = ++clock;
    entry->prefetched = 0;
    if (entry->ready > time || (was_prefetched && parameters.prefetch_on_prefetched_hit))
        train_prefetcher(line, time);
    return ready;
}

uint64_t write_line(uint64_t line, uint64_t time) {
    struct cached_line *entry = find_l1(line);
    if (entry) {
        entry->used = ++clock;
        entry->dirty = 1;
        entry->prefetched = 0;
        return later_cycle(entry->ready, time);
    }
    counters.l1_misses++;
    return is_streamed(line) ? stream_line(line, time) : miss(line, time, 1);
}

/* Translation: a fully associative first level, a 4-way second one, and a walk of fixed cost. */

#include "counters.h"
#include "memory.h"
#include "parameters.h"

/* Arm Cortex-A72 TRM: L1 data TLB of 32 entries, unified L2 TLB of 1,024 in 4 ways. */
enum { PAGE_SHIFT = 12, FIRST = 32, SECOND_SETS = 256, SECOND_WAYS = 4 };

struct entry {
    uint64_t page, used;
};

static struct entry first[FIRST], second[SECOND_SETS][SECOND_WAYS];
static struct entry *last = first;
static uint64_t clock;

/* The entry of the page, or the one to replace. */
static struct entry *look_up(struct entry *entries, int count, uint64_t page) {
    struct entry *oldest = entries;
    for (int i = 0; i < count; i++) {
        if (entries[i].page == page)
            return &entries[i];
        if (entries[i].used < oldest->used)
            oldest = &entries[i];
    }
    return oldest;
}

/* Whether the page was there; it is afterwards. */
static int touch(struct entry *entry, uint64_t page) {
    int hit = entry->page == page;
    *entry = (struct entry){page, ++clock};
    return hit;
}

uint64_t translate(uint64_t address) {
    uint64_t page = address >> PAGE_SHIFT;
    if (last->page == page)
        return 0;
    last = look_up(first, FIRST, page);
    if (touch(last, page))
        return 0;
    counters.tlb_misses++;
    struct entry *set = second[page % SECOND_SETS];
    if (touch(look_up(set, SECOND_WAYS, page), page))
        return (uint64_t)parameters.tlb_hit_second;
    counters.tlb_walks++;
    return (uint64_t)parameters.tlb_walk;
}

/* The core: dispatch, issue and commit of one instruction after the other. */

#pragma once

#include <stdint.h>

#include "instruction.h"

/* Runs one instruction, and returns the cycle in which its last micro-operation issued.
 * address: what a load, store or prefetch accesses, or 0 where that is not known. */
uint64_t run_instruction(const struct instruction *instruction, uint64_t address);

/* Dispatches nothing until the mispredicted branch that issued then has been resolved. */
void refill_after_branch(uint64_t issued);

/* The cycle in which everything so far has been committed. */
uint64_t current_cycle(void);

/* Branch prediction: a branch goes where it went before, by global history or by address alone; and a return stack. */

#pragma once

#include <stdint.h>

#include "instruction.h"

/* Predicts the branch that ends a block, learns from where it went, and returns whether that was wrong.
 * start, end: of the block; next: where the branch went. */
int mispredicts(enum branch branch, uint64_t start, uint64_t end, uint64_t next);

/* Decodes AArch64 instructions, after the encoding tables of the Arm Architecture Reference Manual (DDI 0487). */

#pragma once

#include "instruction.h"

void decode(struct instruction *instruction, uint32_t word);

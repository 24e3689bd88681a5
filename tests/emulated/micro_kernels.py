"""Loops of machine code with a known time on a Cortex-A72, between marks; runs in the emulated Python.

Each kernel runs for some iterations and for twice as many: the difference is the loop alone. Prints the iterations.
"""

from __future__ import annotations

import ctypes
import json
import mmap
import sys
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

_MARK, _START, _STOP = 0x4452, 1, 2
_LINE, _BIG = 64, 64 * 2**20
# Encodings of the Arm Architecture Reference Manual.
_RETURN, _COUNT_DOWN, _NEXT_BYTE, _SKIP_IF_ZERO, _INCREMENT = 0xD65F03C0, 0xF1000400, 0x38401424, 0x34000044, 0x910004A5
_CHASE, _ADD, _STORE_PAIR, _LOAD_PAIR = 0xF9400021, 0x8B020021, 0xAC810020, 0xACC10440

Call = Callable[[int, int, int], int]


def _fmla(register: int, factor: int, *, wide: bool = True) -> int:
    return (0x4E20CC00 if wide else 0x0E20CC00) | 31 << 16 | factor << 5 | register


def _loop(*words: int) -> list[int]:
    """Repeat as often as x0 says."""
    back = -(len(words) + 1) & 0x7FFFF
    return [*words, _COUNT_DOWN, 0x54000001 | back << 5, _RETURN]


def _compile(words: list[int]) -> Call:
    code = mmap.mmap(-1, mmap.PAGESIZE, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
    code.write(np.array(words, np.uint32).tobytes())
    address = ctypes.addressof(ctypes.c_char.from_buffer(code))
    function = ctypes.CFUNCTYPE(ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p)(address)
    _KEPT.append(code)
    return function


_KEPT: list[object] = []


@dataclass(frozen=True)
class _Kernel:
    run: Call
    iterations: int
    one: int = 0
    two: int = 0


def _address(array: np.ndarray) -> int:
    _KEPT.append(array)
    return int(array.ctypes.data)


def _chain_of_pointers(size: int) -> int:
    """A cycle through all lines of a buffer in random order."""
    lines = size // _LINE
    order = np.random.default_rng(0).permutation(lines)
    buffer = np.zeros(size // 8, np.uint64)
    buffer[order * (_LINE // 8)] = _address(buffer) + np.roll(order, -1).astype(np.uint64) * _LINE
    return _address(buffer) + int(order[0]) * _LINE


def _kernels() -> dict[str, _Kernel]:
    fmla = {
        "fmla_accumulator_chain": [_fmla(0, 30)] * 16,
        "fmla_factor_chain": [_fmla(0, 0)] * 16,
        "fmla_throughput_q": [_fmla(register, 30) for register in range(16)],
        "fmla_throughput_d": [_fmla(register, 30, wide=False) for register in range(16)],
        "add_chain": [_ADD] * 16,
    }
    kernels = {name: _Kernel(_compile(_loop(*words)), 2_000) for name, words in fmla.items()}
    big, other = (np.ones(_BIG, np.uint8) for _ in range(2))
    bits = np.random.default_rng(1).integers(0, 2, 40_000).astype(np.uint8)
    chase = _compile(_loop(_CHASE))
    branch = _compile(_loop(_NEXT_BYTE, _SKIP_IF_ZERO, _INCREMENT))
    return kernels | {
        "chase_l1": _Kernel(chase, 4_000, _chain_of_pointers(16 * 2**10)),
        "chase_l2": _Kernel(chase, 20_000, _chain_of_pointers(256 * 2**10)),
        "chase_memory": _Kernel(chase, 10_000, _chain_of_pointers(_BIG)),
        "fill": _Kernel(_compile(_loop(_STORE_PAIR, _STORE_PAIR)), 100_000, _address(big)),
        "copy": _Kernel(_compile(_loop(_LOAD_PAIR, _STORE_PAIR)), 200_000, _address(big), _address(other)),
        "branch_random": _Kernel(branch, 10_000, _address(bits)),
        "branch_regular": _Kernel(branch, 10_000, _address(np.zeros(40_000, np.uint8))),
    }


def main() -> None:
    """Run them all."""
    kernels = _kernels()
    mark = ctypes.CDLL(None).getpriority
    for kernel in kernels.values():
        # Once around, so that short chains of pointers are in the caches.
        for iterations in (kernel.iterations, kernel.iterations, 2 * kernel.iterations):
            mark(_MARK, _START)
            kernel.run(iterations, kernel.one, kernel.two)
            mark(_MARK, _STOP)
    json.dump({name: kernel.iterations for name, kernel in kernels.items()}, sys.stdout)


if __name__ == "__main__":
    main()

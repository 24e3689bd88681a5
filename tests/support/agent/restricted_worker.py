"""A worker under the memory restriction of the service unit, for a process of its own."""

from __future__ import annotations

import ctypes
import mmap
from contextlib import closing
from pathlib import Path

from drupelet_agent.serving.workers.protocol import CheckGolden, GoldenPassed, Ready, WorkerSpec
from drupelet_agent.serving.workers.worker_process import WorkerProcess, expect

# prctl(2): what MemoryDenyWriteExecute= does where the kernel can (Linux 6.3); children inherit it.
_PR_SET_MDWE, _PR_GET_MDWE, _REFUSE_EXEC_GAIN = 65, 66, 1


def kernel_can_refuse_writable_code() -> bool:
    """Return whether this kernel knows the restriction."""
    return ctypes.CDLL(None).prctl(_PR_GET_MDWE, 0, 0, 0, 0) >= 0


def answer_under_restriction(package: Path, variant: str) -> float:
    """Refuse this process memory that is writable and executable, and let a worker of it answer the golden inputs.

    Returns:
        The largest difference from the recorded outputs.
    """
    assert ctypes.CDLL(None).prctl(_PR_SET_MDWE, ctypes.c_ulong(_REFUSE_EXEC_GAIN), 0, 0, 0) == 0
    try:
        mmap.mmap(-1, mmap.PAGESIZE, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
    except PermissionError:
        pass
    else:
        raise AssertionError("the restriction does not hold")
    spec = WorkerSpec(package_folder=str(package), variant=variant, threads=2, memory_limit_bytes=0, slot_bytes=4096)
    with closing(WorkerProcess(spec)) as worker:
        expect(worker, Ready, timeout_s=60)
        worker.send(CheckGolden())
        return expect(worker, GoldenPassed, timeout_s=60).difference

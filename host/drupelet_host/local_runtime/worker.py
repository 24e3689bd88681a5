"""A model in a child process: the child's side, which sets its own limits before it loads anything."""

from __future__ import annotations

import argparse
import os
import resource
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Literal

from drupelet_host.local_runtime.messages import Failure, Ready, Result
from drupelet_shared.engines.base import Engine, Session
from drupelet_shared.engines.files import model_size_bytes
from drupelet_shared.engines.registry import load_engine
from drupelet_shared.errors import DrupeletError
from drupelet_shared.process_memory import read_memory
from drupelet_shared.units import format_bytes

# Address space that costs no memory until it is used, but which RLIMIT_DATA counts: a stack for each pool thread.
_STACK_BYTES = 8 * 2**20
# How runtimes word a failed allocation.
_ALLOCATION_WORDS = ("alloc", "out of memory")


class _MemoryExceededError(Exception):
    """The process used more than its limit; the message has both numbers."""


def main() -> None:
    """Load the model named on the command line and answer until the connection closes."""
    parser = argparse.ArgumentParser(prog="python -m drupelet_host.local_runtime.worker", description=__doc__)
    parser.add_argument("path", type=Path)
    parser.add_argument("--engine", required=True)
    parser.add_argument("--cores", type=int, required=True)
    parser.add_argument("--memory-limit", type=int, required=True, help="bytes; 0 is no limit")
    parser.add_argument("--fd", type=int, required=True)
    options = parser.parse_args()
    with Connection(options.fd) as connection:
        threads = limit_cores(options.cores)
        session = _load(connection, options.path, engine=options.engine, threads=threads, limit=options.memory_limit)
        if session is not None:
            connection.send(Ready(session.inputs, session.outputs, threads))
            _serve(connection, session, limit=options.memory_limit)


def limit_cores(cores: int) -> int:
    """Keep this process to that many of the cores it may use; how many it has now."""
    chosen = sorted(os.sched_getaffinity(0))[:cores]
    os.sched_setaffinity(0, chosen)
    return len(chosen)


def limit_memory(limit: int, *, model_bytes: int, threads: int) -> None:
    """Limit the memory of this process, after the runtime and before the model is loaded.

    Args:
        limit: The limit in bytes.
        model_bytes: The size of the model file.
        threads: The threads of the session.

    Raises:
        _MemoryExceededError: What is in use and the model's file together exceed the limit before anything is loaded.
    """
    memory = read_memory()
    needed = memory.resident_bytes + model_bytes
    if needed > limit:
        raise _MemoryExceededError(
            f"needs at least {needed} bytes ({format_bytes(memory.resident_bytes)} for the runtime, "
            f"{format_bytes(model_bytes)} for the model): the limit is {limit} bytes ({format_bytes(limit)})"
        )
    data = memory.data_bytes + (limit - memory.resident_bytes) + threads * _STACK_BYTES
    resource.setrlimit(resource.RLIMIT_DATA, (data, data))


def _load(connection: Connection, path: Path, *, engine: str, threads: int, limit: int) -> Session | None:
    try:
        adapter: Engine = load_engine(engine)
        if limit:
            limit_memory(limit, model_bytes=model_size_bytes(path) if path.is_file() else 0, threads=threads)
        session = adapter.load(path, threads=threads)
        _check_peak(limit)
    except (_MemoryExceededError, DrupeletError, MemoryError) as error:
        connection.send(_describe(error, kind="load", limit=limit))
        return None
    return session


def _serve(connection: Connection, session: Session, *, limit: int) -> None:
    names = [spec.name for spec in session.outputs]
    while True:
        try:
            inputs = connection.recv()
        except EOFError:
            return
        try:
            outputs = session.run(inputs, names)
            _check_peak(limit)
            connection.send(Result(outputs))
        except (_MemoryExceededError, DrupeletError, MemoryError) as error:
            connection.send(_describe(error, kind="run", limit=limit))


def _check_peak(limit: int) -> None:
    peak = read_memory().peak_bytes
    if limit and peak > limit:
        raise _MemoryExceededError(f"needed {peak} bytes ({format_bytes(peak)}): the limit is {limit} bytes")


def _describe(error: Exception, *, kind: Literal["load", "run"], limit: int) -> Failure:
    if isinstance(error, _MemoryExceededError):
        return Failure("memory", str(error))
    text = str(error)
    if limit and (isinstance(error, MemoryError) or any(word in text.lower() for word in _ALLOCATION_WORDS)):
        used = read_memory().resident_bytes
        needs = f"needs more than the limit of {limit} bytes ({format_bytes(limit)})"
        return Failure("memory", f"{needs}: {used} bytes were in use when an allocation failed")
    return Failure(kind, text)


if __name__ == "__main__":
    main()

"""Compiles that share a cache make each pass once, and no lock outlives its process."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

from pydantic import BaseModel

from drupelet_host.compiler.caching.cache import PassCache
from drupelet_host.compiler.caching.locks import PassLocks
from drupelet_host.compiler.pass_protocol import PassResult
from drupelet_host.compiler.pipeline import Pipeline
from drupelet_host.compiler.state import CompileState
from drupelet_host.errors import ModelError
from drupelet_host.progress.observer import Observer
from fakes.observer import RecordingObserver
from support.model.tiny_project import start_state, trained

HOLDER = """
import sys, time
from pathlib import Path
from drupelet_host.compiler.caching.locks import PassLocks
print(PassLocks(Path(sys.argv[1])).take("key"), flush=True)
time.sleep(60)
"""


class Settings(BaseModel):
    pass


class Course:
    """What a pass tells the test, and what it waits for. Part of the pass's key, it looks the same all the time."""

    def __init__(self) -> None:
        self.started = threading.Event()
        self.may_end = threading.Event()
        self.runs = 0


@dataclass(frozen=True)
class SlowPass:
    """Writes a file, and ends when it is told to; it fails the first time if it is told so."""

    course: Course
    fails: bool
    config: Settings
    name: str = "slow"

    def run(self, state: CompileState, *, observer: Observer) -> PassResult:  # noqa: ARG002 - the protocol's
        path = state.workspace / "model.bin"
        path.write_bytes(b"weights")
        self.course.runs += 1
        self.course.started.set()
        assert self.course.may_end.wait(60)
        if self.fails and self.course.runs == 1:
            raise ModelError("cannot be done")
        return PassResult(replace(state, artifacts={self.name: path}), {})


def compile_twice(step: SlowPass, folder: Path) -> tuple[list[object], list[str]]:
    """The outcomes of two compiles, of which the second begins while the first makes the pass, and what it said."""
    tiny = trained()
    state = start_state(folder, tiny.model, train=tiny.train, validation=tiny.validation)
    observer = RecordingObserver()

    def compiled(seen: RecordingObserver) -> object:
        try:
            final = Pipeline([step], observer=seen, cache=PassCache(folder / "cache")).run(state)
        except ModelError as error:
            return str(error)
        return final.artifacts["slow"].read_bytes()

    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(compiled, RecordingObserver())
        assert step.course.started.wait(60)
        second = pool.submit(compiled, observer)
        while not observer.decisions:
            assert not second.done()
            time.sleep(0.01)
        step.course.may_end.set()
        return [first.result(), second.result()], observer.decisions


def test_a_pass_that_another_compile_makes_is_waited_for_and_not_made_again(tmp_path: Path) -> None:
    step = SlowPass(Course(), fails=False, config=Settings())
    outcomes, said = compile_twice(step, tmp_path)
    assert (step.course.runs, outcomes) == (1, [b"weights", b"weights"])
    assert said[0] == f"slow: waiting for process {os.getpid()}, which makes the same"
    assert "taken from the cache" in said[1]
    assert list((tmp_path / "cache").glob("*.lock")) == []


def test_a_pass_that_fails_in_another_compile_is_made_by_the_one_that_waited(tmp_path: Path) -> None:
    step = SlowPass(Course(), fails=True, config=Settings())
    outcomes, _ = compile_twice(step, tmp_path)
    assert (step.course.runs, outcomes) == (2, ["cannot be done", b"weights"])


def test_a_lock_is_one_compiles_at_a_time_and_known_by_its_process(tmp_path: Path) -> None:
    ours, theirs = PassLocks(tmp_path), PassLocks(tmp_path)
    assert ours.take("key")
    assert ours.take("key")
    assert not theirs.take("key")
    assert theirs.take("another")
    assert theirs.holder("key") == f"process {os.getpid()}"
    ours.release()
    assert theirs.take("key")
    theirs.release()
    assert list(tmp_path.iterdir()) == []


def test_the_lock_of_a_compile_that_was_killed_is_free(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", HOLDER, tmp_path], stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "True\n"
        locks = PassLocks(tmp_path)
        assert not locks.take("key")
        assert locks.holder("key") == f"process {holder.pid}"
        holder.send_signal(signal.SIGKILL)
        holder.wait()
        assert locks.take("key")

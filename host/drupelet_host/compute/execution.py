"""Runs one task: the same way in this process and in every worker."""

from __future__ import annotations

import pickle
import traceback
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch

from drupelet_host.compute.backend import Shared, Task
from drupelet_host.compute.user_code import find_user_code, import_user_code
from drupelet_host.errors import ComputeError

# Workers keep the latest values: the data of a compile, and the models of the step that it is at.
_MAX_KEPT = 8


@dataclass(frozen=True, slots=True)
class Outcome:
    """The end of a task.

    Attributes:
        value: Its result.
        error: What it raised; None where it has a result.
        is_unloadable: Whether the worker could not load the task or one of its values, and `error` says why.
    """

    value: Any = None
    error: Exception | None = None
    is_unloadable: bool = False


class UnloadableError(Exception):
    """A worker cannot load what was sent to it, such as an object of a module that only its sender can import."""


@contextmanager
def limited_threads(count: int) -> Iterator[None]:
    """Let PyTorch use this many threads while the block runs."""
    before = torch.get_num_threads()
    if before == count:
        yield
        return
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def call(task: Task, *, load: Callable[[Shared], Any]) -> Any:  # noqa: ANN401 - a task may return anything
    """Call a task's function.

    Args:
        task: The task.
        load: Returns the value of a shared argument.
    """
    arguments = [load(argument) if isinstance(argument, Shared) else argument for argument in task.arguments]
    with limited_threads(task.threads or 1):
        return task.function(*arguments)


def find_shared(task: Task) -> tuple[Shared, ...]:
    """Return the shared arguments of a task."""
    return tuple(argument for argument in task.arguments if isinstance(argument, Shared))


def encode(value: object, *, with_sources: bool) -> bytes:
    """Return a task or a shared value as a worker takes it: behind the user's files that it is made of.

    Args:
        value: The task or the value.
        with_sources: Whether the content of these files goes along, for workers on other machines.

    Raises:
        Exception: A part of it cannot be pickled.
    """
    pickled = pickle.dumps(value)
    return pickle.dumps((find_user_code(pickled, with_sources=with_sources), pickled))


def execute(payload: bytes, shared: SharedValues) -> bytes:
    """Run an encoded task in a worker and return its encoded outcome.

    Args:
        payload: The task.
        shared: The shared values.
    """
    try:
        task: Task = _decode(payload)
        return pickle.dumps(Outcome(call(task, load=shared.load)))
    except UnloadableError as error:
        return pickle.dumps(Outcome(error=error, is_unloadable=True))
    except Exception as error:  # noqa: BLE001 - a task may raise anything, which the caller raises again
        return pickle.dumps(Outcome(error=_portable(error)))


def decode_outcome(encoded: bytes) -> Outcome:
    """Read what `execute` returned."""
    outcome: Outcome = pickle.loads(encoded)  # noqa: S301 - from a worker that this process started
    return outcome


def _decode(encoded: bytes) -> Any:  # noqa: ANN401 - whatever was encoded
    user_code, pickled = pickle.loads(encoded)  # noqa: S301 - from the process that started this one
    try:
        import_user_code(user_code)
        return pickle.loads(pickled)  # noqa: S301 - as above
    except Exception as error:
        raise UnloadableError(f"{type(error).__name__}: {error}") from error


def _portable(error: Exception) -> Exception:
    """Return an error that can be pickled, with the worker's traceback as a note."""
    error.add_note("".join(traceback.format_exception(error)))
    try:
        pickle.loads(pickle.dumps(error))  # noqa: S301 - made in this line
    except Exception:  # noqa: BLE001 - an error of a library may refuse in many ways
        return ComputeError(f"{type(error).__name__}: {error}")
    return error


class SharedValues:
    """The shared values that a worker has loaded, the latest ones.

    Args:
        fetch: Returns the encoded value of a key.
    """

    def __init__(self, fetch: Callable[[str], bytes]) -> None:
        self._fetch = fetch
        self._values: OrderedDict[str, Any] = OrderedDict()

    def load(self, shared: Shared) -> Any:  # noqa: ANN401 - any value is shared
        """Return the value."""
        if shared.key not in self._values:
            self._values[shared.key] = _decode(self._fetch(shared.key))
        self._values.move_to_end(shared.key)
        while len(self._values) > _MAX_KEPT:
            self._values.popitem(last=False)
        return self._values[shared.key]

"""Computes tasks on a Ray cluster, or on one that it starts on this machine."""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import logging
import os
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import replace
from importlib import metadata
from types import TracebackType
from typing import Any, Self

from drupelet_host.compute.backend import OnDone, Shared, Task
from drupelet_host.compute.execution import Outcome, SharedValues, decode_outcome, encode, execute, find_shared
from drupelet_host.errors import ComputeError
from drupelet_host.recipe.user_folders import program_path

log = logging.getLogger(__name__)

# A head that wants a token lets a client without one wait until its time is up.
_CLUSTER_HINT = (
    "does its head run (`ray start --head`), and has this machine its token, where it asks for one "
    "(RAY_AUTH_MODE=token, ~/.ray/auth_token)?"
)

_POLL_S = 0.5
# The error of Ray's client where the head was reached, and its service for the client did not start in time.
_NOT_STARTED = "Initialization failure from server"
_START_ATTEMPTS = 3
_MAX_REMEMBERED = 16
# What decides the bits of a result: nodes must have the same versions as this process.
_COMPARED = ("drupelet", "numpy", "onnx", "onnxruntime", "torch")
# Ray reports its usage to its makers unless this says otherwise, https://docs.ray.io/en/latest/cluster/usage-stats.html
_USAGE_VARIABLE = "RAY_USAGE_STATS_ENABLED"
_in_worker: dict[str, Any] = {}


class RayCluster:
    """Tasks as Ray tasks; models and data lie in its object store.

    Args:
        address: The address of a cluster, such as ray://head:10001; None starts one on this machine.
        retries: How often a task runs again whose worker or node died.
        threads: The threads of a task that does not state them.
        workers: The number of processors of a cluster that is started here; None for all of this machine.
    """

    def __init__(
        self, address: str | None = None, *, retries: int, threads: int = 1, workers: int | None = None
    ) -> None:
        self.threads = threads
        os.environ[_USAGE_VARIABLE] = "0"
        try:
            self._ray: Any = importlib.import_module("ray")
        except ImportError as error:
            raise ComputeError("compute: Ray is not installed: pip install 'drupelet[host,ray]'") from error
        self._retries = retries
        self._references: dict[int, Any] = {}
        self._tasks: dict[int, Task] = {}
        self._submitted = 0
        self._stored: dict[str, Any] = {}
        self._remembered: OrderedDict[int, Shared] = OrderedDict()
        self._connect(address, workers)
        self.workers = max(1, int(self._ray.cluster_resources().get("CPU", 1)))
        self._run = self._ray.remote(run_on_node)

    def _connect(self, address: str | None, workers: int | None) -> None:
        settings: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
        if address is None:
            settings |= {"address": "local", "include_dashboard": False, "num_cpus": workers}
        else:
            settings |= {"address": address}
        # On a busy machine the services of a cluster, and those of a head for one client, take longer to start than
        # the 30 s that Ray waits for them.
        for attempt in range(1, _START_ATTEMPTS + 1):
            try:
                with _same_import_path():
                    self._ray.init(**settings)
                break
            except Exception as error:  # Ray and its connections raise errors of many kinds
                self._ray.shutdown()
                log.debug("ray did not start attempt=%d", attempt, exc_info=True)
                if attempt == _START_ATTEMPTS or (address is not None and _NOT_STARTED not in str(error)):
                    where = "on this machine" if address is None else f"at {address}"
                    hint = "" if address is None else f"; {_CLUSTER_HINT}"
                    raise ComputeError(f"compute: Ray {where} cannot be reached: {_first_line(error)}{hint}") from error
        try:
            self._compare_versions()
        except BaseException:
            self._ray.shutdown()
            raise

    def _compare_versions(self) -> None:
        """Refuse a cluster whose programs would compute something else.

        Raises:
            ComputeError: A version differs.
        """
        here = _list_versions()
        try:
            there: dict[str, str] = self._ray.get(self._ray.remote(_list_versions).remote())
        except Exception as error:
            raise ComputeError(f"compute: a node of the cluster cannot run drupelet: {_first_line(error)}") from error
        different = [f"{name} {there.get(name)} for {here[name]}" for name in here if there.get(name) != here[name]]
        if different:
            raise ComputeError(
                f"compute: the cluster has {', '.join(different)}: results would differ; install the same versions"
            )

    def share(self, value: object) -> Shared:
        """Put the value into the object store once; see `ComputeBackend.share`.

        Raises:
            ComputeError: The value cannot be pickled.
        """
        known = self._remembered.get(id(value))
        if known is None:
            try:
                encoded = encode(value, with_sources=True)
            except Exception as error:
                raise ComputeError(f"compute: the model or the data cannot be sent: {_first_line(error)}") from error
            known = Shared(hashlib.sha256(encoded).hexdigest(), value)
            if known.key not in self._stored:
                self._stored[known.key] = self._ray.put(encoded)
            self._remembered[id(value)] = known
        self._remembered.move_to_end(id(value))
        while len(self._remembered) > _MAX_REMEMBERED:
            self._remembered.popitem(last=False)
        return known

    def submit(self, task: Task) -> int:
        """Start a Ray task; see `ComputeBackend.submit`.

        Raises:
            ComputeError: An argument cannot be pickled.
        """
        task = replace(task, threads=task.threads or self.threads)
        try:
            payload = encode(task, with_sources=True)
        except Exception as error:
            raise ComputeError(f"task {task.name}: it cannot be sent to the cluster: {_first_line(error)}") from error
        self._submitted += 1
        # In a dictionary Ray hands references on as they are: a worker fetches what it has not yet loaded.
        values = {shared.key: self._stored[shared.key] for shared in find_shared(task)}
        options = {"num_cpus": min(task.threads or 1, self.workers), "max_retries": self._retries, "name": task.name}
        self._references[self._submitted] = self._run.options(**options).remote(payload, values)
        self._tasks[self._submitted] = task
        return self._submitted

    def gather(self, numbers: Sequence[int], *, on_done: OnDone | None = None) -> list[Any]:
        """Wait for tasks; see `ComputeBackend.gather`."""
        try:
            outcomes = self._gather(numbers, on_done)
        except BaseException:
            self.cancel()
            raise
        for number in numbers:
            del self._references[number], self._tasks[number]
        return [outcome.value for outcome in outcomes]

    def _gather(self, numbers: Sequence[int], on_done: OnDone | None) -> list[Outcome]:
        outcomes: dict[int, Outcome] = {}
        waiting = {self._references[number]: number for number in numbers}
        while waiting:
            # A short wait, so that an interruption is noticed.
            done, _ = self._ray.wait(list(waiting), num_returns=1, timeout=_POLL_S)
            for reference in done:
                number = waiting.pop(reference)
                outcomes[number] = self._fetch(reference, self._tasks[number])
                if on_done is not None:
                    on_done(self._tasks[number].name, len(outcomes), len(numbers))
            for number in numbers:
                if number not in outcomes:
                    break
                error = outcomes[number].error
                if error is not None:
                    raise error
        return [outcomes[number] for number in numbers]

    def _fetch(self, reference: Any, task: Task) -> Outcome:  # noqa: ANN401 - a reference of Ray's
        try:
            outcome = decode_outcome(self._ray.get(reference))
        except self._ray.exceptions.RayError as error:
            return Outcome(
                error=ComputeError(
                    f"task {task.name}: its worker or node died, and {self._retries + 1} attempts are all that "
                    f"compute.retries = {self._retries} allows: {_first_line(error)}"
                )
            )
        if outcome.error is not None and outcome.is_unloadable:
            return Outcome(
                error=ComputeError(
                    f"task {task.name}: a worker of the cluster cannot load the model or the data: "
                    f"{_first_line(outcome.error)}; define its classes in the factory's file or in modules beside it, "
                    "or compile with --on local"
                )
            )
        return outcome

    def cancel(self) -> None:
        """End all tasks; see `ComputeBackend.cancel`."""
        running = list(self._references.values())
        if running and self._ray.is_initialized():
            # Only what is not done: Ray never answers a cancellation of a finished task.
            _, running = self._ray.wait(running, num_returns=len(running), timeout=0)
        for reference in running:
            with contextlib.suppress(Exception):  # a cluster that is gone
                self._ray.cancel(reference, force=True)
        self._references.clear()
        self._tasks.clear()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.cancel()
        self._stored.clear()
        self._remembered.clear()
        self._ray.shutdown()


def run_on_node(payload: bytes, values: dict[str, Any]) -> bytes:
    """Run an encoded task in a Ray worker, which keeps the shared values that it has loaded.

    Args:
        payload: The task.
        values: The references of its shared values, by key.
    """
    ray = importlib.import_module("ray")
    _in_worker["values"] = values
    if "shared" not in _in_worker:
        _in_worker["shared"] = SharedValues(lambda key: ray.get(_in_worker["values"][key]))
    return execute(payload, _in_worker["shared"])


@contextlib.contextmanager
def _same_import_path() -> Iterator[None]:
    """Let the workers of a cluster that is started here import what this process can."""
    before = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = os.pathsep.join(path or os.getcwd() for path in program_path())  # noqa: PTH109 - a text is wanted
    try:
        yield
    finally:
        if before is None:
            del os.environ["PYTHONPATH"]
        else:
            os.environ["PYTHONPATH"] = before


def _list_versions() -> dict[str, str]:
    return {name: metadata.version(name) for name in _COMPARED}


def _first_line(error: Exception) -> str:
    lines = [line for line in str(error).splitlines() if line.strip()]
    return lines[0].strip() if lines else type(error).__name__

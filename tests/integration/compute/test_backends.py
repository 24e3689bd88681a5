"""Every compute backend: the same tasks give the same results, a dead worker costs its task, nothing stays behind."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import psutil
import pytest
import torch

from drupelet_host.compute.adaptive import AdaptivePool
from drupelet_host.compute.backend import ComputeBackend, Task, run_tasks, run_until
from drupelet_host.compute.in_process import InProcess
from drupelet_host.compute.local_pool import LocalPool
from drupelet_host.compute.ray_cluster import RayCluster
from drupelet_host.errors import ComputeError, ExportError
from support.compute import tasks

# Ray leaves sockets and files to the garbage collector when it shuts down.
pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(300),
    pytest.mark.filterwarnings("default::ResourceWarning", "default::pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.filterwarnings("default::FutureWarning", "default::DeprecationWarning"),
]

RETRIES = 2


def make_ray() -> ComputeBackend:
    pytest.importorskip("ray", reason="Ray is not installed")
    return RayCluster(retries=RETRIES, workers=2)


BACKENDS: dict[str, Callable[[], ComputeBackend]] = {
    "in process": InProcess,
    "one worker": lambda: LocalPool(1, retries=RETRIES),
    "two workers": lambda: LocalPool(2, retries=RETRIES),
    "adaptive": lambda: AdaptivePool(LocalPool(2, retries=RETRIES), worth_s=0.0),
    "ray": make_ray,
}
WITH_PROCESSES = [name for name in BACKENDS if name not in {"in process", "adaptive"}]


@pytest.fixture(scope="module", params=BACKENDS)
def backend(request: pytest.FixtureRequest) -> Iterator[ComputeBackend]:
    with BACKENDS[request.param]() as made:
        yield made


@pytest.fixture(scope="module", params=WITH_PROCESSES)
def processes(request: pytest.FixtureRequest) -> Iterator[ComputeBackend]:
    with BACKENDS[request.param]() as made:
        yield made


def test_results_come_in_the_order_of_the_tasks(backend: ComputeBackend) -> None:
    found = run_tasks(backend, [Task(f"sum {number}", tasks.add, (number, 1)) for number in range(7)])

    assert found == [1, 2, 3, 4, 5, 6, 7]


def test_every_task_is_reported_once(backend: ComputeBackend) -> None:
    reported: list[tuple[str, int, int]] = []
    run_tasks(
        backend,
        [Task(f"sum {number}", tasks.add, (number, 1)) for number in range(3)],
        on_done=lambda *what: reported.append(what),
    )

    assert sorted(name for name, _, _ in reported) == ["sum 0", "sum 1", "sum 2"]
    assert [(done, total) for _, done, total in reported] == [(1, 3), (2, 3), (3, 3)]


def test_a_shared_value_reaches_every_task(backend: ComputeBackend) -> None:
    values = np.arange(1000, dtype=np.float32)
    shared = backend.share(values)
    found = run_tasks(backend, [Task(f"times {factor}", tasks.scale, (shared, factor)) for factor in (2.0, 3.0, 4.0)])

    assert [float(array[10]) for array in found] == [20.0, 30.0, 40.0]


def test_a_task_has_the_threads_that_it_states(backend: ComputeBackend) -> None:
    before = torch.get_num_threads()
    found = run_tasks(backend, [Task("one", tasks.count_threads, ()), Task("two", tasks.count_threads, (), threads=2)])

    assert found == [1, 2]
    assert torch.get_num_threads() == before


def test_the_bits_of_a_gradient_are_the_same_everywhere(backend: ComputeBackend) -> None:
    torch.manual_seed(0)
    weights, images = torch.randn(16, 8, 3, 3), torch.randn(64, 8, 24, 24)
    work = [Task("gradient", tasks.convolve, (backend.share(weights), backend.share(images)))]
    (expected,) = run_tasks(InProcess(), [Task("gradient", tasks.convolve, (weights, images))])

    assert run_tasks(backend, work * 3) == [expected] * 3


def test_an_error_arrives_as_it_was_raised(backend: ComputeBackend) -> None:
    with pytest.raises(ExportError, match="layer 3 cannot be exported"):
        run_tasks(backend, [Task("good", tasks.add, (1, 2)), Task("bad", tasks.fail, ("layer 3 cannot be exported",))])

    assert run_tasks(backend, [Task("later", tasks.add, (1, 2))]) == [3]


def test_of_several_errors_the_first_in_order_is_raised(backend: ComputeBackend) -> None:
    with pytest.raises(ExportError, match="the first"):
        run_tasks(
            backend, [Task("slow", tasks.fail_slowly, ("the first",)), Task("quick", tasks.fail, ("the second",))]
        )


def test_without_time_nothing_is_begun_but_what_must_be(backend: ComputeBackend) -> None:
    work = [Task(f"sum {number}", tasks.add, (number, 1)) for number in range(5)]

    assert run_until(backend, work, is_over=lambda: True) == []
    assert run_until(backend, work, is_over=lambda: True, at_least=1)[:1] == [1]
    assert run_until(backend, work, is_over=lambda: False) == [1, 2, 3, 4, 5]


def test_a_task_whose_worker_died_runs_again(processes: ComputeBackend, tmp_path: Path) -> None:
    others = [Task(f"sum {number}", tasks.add, (number, 1)) for number in range(3)]

    assert run_tasks(processes, [Task("dies once", tasks.die_at_first, (tmp_path,)), *others]) == ["done", 1, 2, 3]


def test_a_task_that_kills_every_worker_is_named(processes: ComputeBackend) -> None:
    with pytest.raises(ComputeError, match=r"task poison: its worker .*died.* compute.retries = 2"):
        run_tasks(processes, [Task("poison", tasks.die, ())])

    assert run_tasks(processes, [Task("later", tasks.add, (1, 2))]) == [3]


@pytest.mark.parametrize("name", WITH_PROCESSES)
def test_an_interruption_leaves_no_process(name: str, tmp_path: Path) -> None:
    before = {child.pid for child in psutil.Process().children(recursive=True)}

    def interrupt() -> None:
        while not list(tmp_path.glob("*.running")):
            time.sleep(0.05)
        os.kill(os.getpid(), signal.SIGINT)

    with BACKENDS[name]() as made:
        threading.Thread(target=interrupt, daemon=True).start()
        with pytest.raises(KeyboardInterrupt):
            run_tasks(made, [Task(f"endless {number}", tasks.wait_for_ever, (tmp_path,)) for number in range(2)])

    started = [int(number) for file in tmp_path.glob("*.running") for number in file.read_text().split()]
    assert started
    gone = [psutil.Process(number) for number in started if psutil.pid_exists(number)]
    _, alive = psutil.wait_procs(gone, timeout=20)
    assert [process for process in alive if process.status() != psutil.STATUS_ZOMBIE] == []
    left = [child for child in psutil.Process().children(recursive=True) if child.pid not in before]
    _, alive = psutil.wait_procs(left, timeout=20)
    assert alive == []


def test_workers_end_with_the_process_that_started_them(tmp_path: Path) -> None:
    parent = os.fork()
    if parent == 0:
        pool = LocalPool(1, retries=0)
        run_tasks(pool, [Task("endless", tasks.wait_for_ever, (tmp_path,))])
        os._exit(0)
    while not list(tmp_path.glob("*.running")):
        time.sleep(0.05)
    os.kill(parent, signal.SIGKILL)
    os.waitpid(parent, 0)
    numbers = [int(number) for file in tmp_path.glob("*.running") for number in file.read_text().split()]
    _, alive = psutil.wait_procs(
        [psutil.Process(number) for number in numbers if psutil.pid_exists(number)], timeout=20
    )

    assert [process for process in alive if process.status() != psutil.STATUS_ZOMBIE] == []

"""A compile gives the same models in one process, in several, on Ray, and while its workers are killed."""

from __future__ import annotations

import contextlib
import operator
import os
import random
import signal
import threading
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest

from drupelet import compile_recipe
from drupelet_host.compiler.state import CompileState
from drupelet_host.compute.backend import ComputeBackend, Task, run_tasks
from drupelet_host.compute.choice import make_backend
from drupelet_host.compute.in_process import InProcess
from drupelet_host.compute.local_pool import LocalPool
from drupelet_host.compute.ray_cluster import RayCluster
from drupelet_host.recipe.compute import ComputeSection
from drupelet_host.recipe.schema import Recipe, parse_recipe
from support.compute.ray_head import ray_head
from support.model.tiny_project import RECIPE_SOURCE, write_project

# Ray leaves sockets and files to the garbage collector when it shuts down.
pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(900),
    pytest.mark.filterwarnings("default::ResourceWarning", "default::pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.filterwarnings("default::FutureWarning", "default::DeprecationWarning"),
]
KILLS = 5


def recipe(folder: Path) -> Recipe:
    document = tomllib.loads(RECIPE_SOURCE)
    document["constraints"] = {"max_size": "16KB", "max_metric_drop": 0.05}
    document["prune"] = {"recovery": {"epochs": 2}, "max_trials": 2, "beam": 2}
    document["export"] = {"engines": ["onnxruntime", "ncnn"]}
    return parse_recipe(document, folder=folder)


def decided(state: CompileState) -> dict[str, object]:
    """All that a compile decides and makes, but times: the digests of the models after each pass among it."""
    assert state.pruning is not None
    return {
        "importance": state.importance,
        "curves": state.curves,
        "models": [record.digest for record in state.lineage],
        "candidates": [
            (one.kept, one.parameters, {name: measured.metric for name, measured in one.measurements.items()})
            for one in state.pruning.candidates
        ],
        "methods": state.static,
        "float layers": [(row.layer, row.precision, row.reason) for row in state.precisions],
        "metrics": {name: measured.metric for name, measured in state.measurements.items()},
    }


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_project(tmp_path_factory.mktemp("anywhere")).parent


@pytest.fixture(scope="module")
def expected(project: Path) -> dict[str, object]:
    return decided(compile_recipe(recipe(project), compute=InProcess()))


def make_ray() -> ComputeBackend:
    pytest.importorskip("ray", reason="Ray is not installed")
    return RayCluster(retries=2, workers=2)


@pytest.mark.parametrize("make", [lambda: LocalPool(2, retries=2), make_ray], ids=["two workers", "ray"])
def test_a_compile_gives_the_same_models_wherever_it_runs(
    project: Path, expected: dict[str, object], make: Callable[[], ComputeBackend]
) -> None:
    with make() as backend:
        assert decided(compile_recipe(recipe(project), compute=backend)) == expected


def test_a_compile_on_a_cluster_that_runs_already_gives_the_same_models(
    project: Path, expected: dict[str, object], tmp_path: Path
) -> None:
    pytest.importorskip("ray", reason="Ray is not installed")
    # The head knows neither the project's folder nor its files: they go with the tasks.
    with ray_head(tmp_path, processors=2) as address:
        with make_backend(ComputeSection(on=address)) as backend:
            assert decided(compile_recipe(recipe(project), compute=backend)) == expected
        # The cluster outlives a compile, and takes another one.
        with make_backend(ComputeSection(on=address)) as backend:
            assert run_tasks(backend, [Task("sum", operator.add, (1, 2))]) == [3]


def test_a_compile_whose_workers_are_killed_gives_the_same_models(project: Path, expected: dict[str, object]) -> None:
    choice = random.Random(0)
    pool, is_over, killed = LocalPool(2, retries=KILLS), threading.Event(), []

    def kill() -> None:
        while len(killed) < KILLS and not is_over.wait(0.5):
            with contextlib.suppress(ProcessLookupError, IndexError):
                process_id = choice.choice(pool.process_ids)
                os.kill(process_id, signal.SIGKILL)
                killed.append(process_id)

    killer = threading.Thread(target=kill)
    with pool:
        killer.start()
        try:
            state = compile_recipe(recipe(project), compute=pool)
        finally:
            is_over.set()
            killer.join()
    assert killed
    assert decided(state) == expected

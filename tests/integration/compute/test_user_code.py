"""Workers import the files that a task's objects come from, and no others of the process."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from drupelet_host.compute.backend import ComputeBackend, Task, run_tasks
from drupelet_host.compute.local_pool import LocalPool
from drupelet_host.compute.ray_cluster import RayCluster
from drupelet_host.errors import ComputeError, ModelError
from drupelet_host.recipe.factories import call_factory, parse_factory
from support.compute import tasks

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(300),
    pytest.mark.filterwarnings("default::ResourceWarning", "default::pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.filterwarnings("default::FutureWarning", "default::DeprecationWarning"),
]

FACTORY = """
from scaling import Scaled
from steps.adding import Added


def make():
    return Scaled(Added())
"""
SCALED = """
class Scaled:
    def __init__(self, inner):
        self.inner = inner

    def __call__(self, value):
        return {factor} * self.inner(value)
"""
ADDED = """
class Added:
    def __call__(self, value):
        from late import OFFSET

        return value + OFFSET
"""


def make_ray() -> ComputeBackend:
    pytest.importorskip("ray", reason="Ray is not installed")
    return RayCluster(retries=1, workers=1)


@pytest.fixture(
    scope="module", params=[lambda: LocalPool(1, retries=1, on_notice=pytest.fail), make_ray], ids=["one worker", "ray"]
)
def backend(request: pytest.FixtureRequest) -> Iterator[ComputeBackend]:
    make: Callable[[], ComputeBackend] = request.param
    with make() as made:
        yield made


def write_project(folder: Path, *, factor: int) -> Path:
    """Write a factory's file, with a module and a package beside it and a module that is imported when it is called."""
    (folder / "steps").mkdir(parents=True)
    (folder / "make.py").write_text(FACTORY)
    (folder / "scaling.py").write_text(SCALED.format(factor=factor))
    (folder / "steps" / "__init__.py").write_text("")
    (folder / "steps" / "adding.py").write_text(ADDED)
    (folder / "late.py").write_text(f"OFFSET = {factor}")
    return folder


def make_function(folder: Path) -> Any:  # noqa: ANN401 - of a person's class
    return call_factory(parse_factory("make.py:make", folder=folder), error=ModelError)


def call_there(backend: ComputeBackend, folder: Path, value: int) -> int:
    function = make_function(folder)
    [here] = run_tasks(backend, [Task("as an argument", tasks.call, (function, value))])
    [shared] = run_tasks(backend, [Task("shared", tasks.call, (backend.share(function), value))])
    assert here == shared
    return int(here)


def test_projects_whose_modules_have_the_same_names_take_turns(backend: ComputeBackend, tmp_path: Path) -> None:
    two, three = write_project(tmp_path / "two", factor=2), write_project(tmp_path / "three", factor=3)

    assert [call_there(backend, folder, 5) for folder in (two, three, two, three)] == [14, 24, 14, 24]


def test_a_file_of_an_earlier_compile_need_not_be_importable_any_more(backend: ComputeBackend, tmp_path: Path) -> None:
    earlier, later = write_project(tmp_path / "earlier", factor=5), write_project(tmp_path / "later", factor=2)
    make_function(earlier)
    (earlier / "make.py").write_text("import a_module_that_was_uninstalled")

    assert call_there(backend, later, 1) == 6


def test_a_factory_uses_modules_of_two_folders(backend: ComputeBackend, tmp_path: Path) -> None:
    network = write_project(tmp_path / "network", factor=2)
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "reading.py").write_text("class Reader:\n    def __call__(self, value):\n        return value")
    (tmp_path / "data" / "data.py").write_text("from reading import Reader\n\n\ndef make():\n    return Reader()")
    function = make_function(network)
    reader = call_factory(parse_factory("data.py:make", folder=tmp_path / "data"), error=ModelError)

    found = run_tasks(backend, [Task(str(one), tasks.call, (one, 5)) for one in (function, reader, function)])

    assert found == [14, 5, 14]


@pytest.fixture
def loaded_function(tmp_path: Path) -> Iterator[Any]:
    """An object of a module that was loaded from its file, as hubs of models do: no other process can import it."""
    path = tmp_path / "loaded.py"
    path.write_text(ADDED.replace("from late import OFFSET", "OFFSET = 3"))
    spec = importlib.util.spec_from_file_location("hub_of_models", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    yield module.Added()
    del sys.modules[spec.name]


def test_what_a_local_worker_cannot_import_is_computed_in_this_process_and_told_once(loaded_function: Any) -> None:  # noqa: ANN401
    notices: list[str] = []
    with LocalPool(1, retries=1, on_notice=notices.append) as pool:
        shared = pool.share(loaded_function)
        numbers = [
            pool.submit(Task(name, tasks.call, (one, 4)))
            for name, one in (("argument", loaded_function), ("shared", shared))
        ]
        assert pool.gather(numbers) == [7, 7]
    (notice,) = notices
    assert notice.startswith("argument is computed in this process: ")
    assert "hub_of_models" in notice


def test_what_a_cluster_cannot_import_is_an_error_that_says_what_to_do(loaded_function: Any) -> None:  # noqa: ANN401
    with make_ray() as cluster, pytest.raises(ComputeError, match=r"hub_of_models.*or compile with --on local"):
        run_tasks(cluster, [Task("argument", tasks.call, (loaded_function, 4))])

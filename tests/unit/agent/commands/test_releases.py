"""The commands on installed releases: activate, roll back, remove, list."""

from __future__ import annotations

from pathlib import Path

import pytest

from drupelet_agent.commands.context import Context, released
from drupelet_agent.commands.releases import activate, list_installed, remove, roll_back
from drupelet_agent.errors import NotInstalledError, ReleaseChangedError
from drupelet_agent.install.activation import Progress
from drupelet_agent.store.store import Store
from drupelet_shared.contract.commands import (
    ActivateRequest,
    InstalledModels,
    ListRequest,
    Removed,
    RemoveRequest,
    RollBackRequest,
)
from support.agent.fleet_bench import install, make_config
from support.agent.values import make_activation

FIRST, SECOND, THIRD = (make_activation(release=release) for release in (1, 2, 3))


class Bench:
    """A store with releases 1 and 2 of `digits`, of which 2 is active, and 3 staged."""

    def __init__(self, folder: Path) -> None:
        self.progress: list[Progress] = []
        config = make_config(folder)
        self.context = Context(config, self.progress.append)
        self.store = Store(config.state_dir)
        self.store.create()
        install(self.store, FIRST)
        install(self.store, SECOND)
        with self.store.writer() as writer, writer.staging_folder() as staging:
            (staging / "package").mkdir()
            (staging / "package/file").write_bytes(bytes(1000))
            writer.commit(staging / "package", THIRD.digest)
            writer.stage(THIRD)


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def test_activating_runs_the_staged_release(bench: Bench) -> None:
    assert activate(ActivateRequest(model="digits"), bench.context) == released(THIRD)
    assert bench.store.active() == {"digits": THIRD}
    assert bench.progress == [Progress("active", "digits release 3")]


def test_rolling_back_runs_the_release_before(bench: Bench) -> None:
    assert roll_back(RollBackRequest(model="digits"), bench.context) == released(FIRST)
    assert bench.store.active() == {"digits": FIRST}
    assert bench.progress == [Progress("active", "digits release 1")]
    assert bench.store.record("digits").changes[-1].why == "asked for, from release 2"


def test_a_roll_back_that_is_delivered_twice_happens_once(bench: Bench) -> None:
    request = RollBackRequest(model="digits", from_release=2)
    roll_back(request, bench.context)
    with pytest.raises(ReleaseChangedError):
        roll_back(request, bench.context)
    assert bench.store.active() == {"digits": FIRST}


def test_removing_deletes_every_package_and_tells_their_size(bench: Bench) -> None:
    assert remove(RemoveRequest(model="digits"), bench.context) == Removed(model="digits", release=2, freed_bytes=1000)
    assert list(bench.store.layout.packages.iterdir()) == []
    assert bench.progress == [Progress("removed", "digits release 2")]


def test_removing_what_is_not_installed_is_refused(bench: Bench) -> None:
    with pytest.raises(NotInstalledError):
        remove(RemoveRequest(model="faces"), bench.context)


def test_the_list_has_every_release_of_every_model(bench: Bench) -> None:
    install(bench.store, make_activation("faces"))
    answer = list_installed(ListRequest(), bench.context)
    assert isinstance(answer, InstalledModels)
    digits, faces = answer.models
    assert (digits.active, digits.previous, digits.staged) == (released(SECOND), released(FIRST), released(THIRD))
    assert digits.highest_release == 2
    assert digits.changes == bench.store.record("digits").changes
    assert (faces.model, faces.previous, faces.staged) == ("faces", None, None)
    assert 0 < answer.free_bytes < 2**60

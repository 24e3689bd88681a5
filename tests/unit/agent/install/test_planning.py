"""The plan of a package: what it may use, what is measured again, and what is chosen."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from drupelet_agent.config.tuning import TuningConfig
from drupelet_agent.errors import PlanError
from drupelet_agent.install.planning import Means, Planned, make_plan, means_for
from drupelet_agent.planning.budget import Budget, Cores
from drupelet_agent.planning.candidates import Goal
from drupelet_agent.serving.workers.protocol import Failed, GoldenPassed, Message, WorkerSpec
from drupelet_agent.store.measurements import KeptMeasurements
from drupelet_agent.store.records import Activation
from drupelet_agent.store.store import Store
from drupelet_shared.package.manifest import FileEntry, Manifest, Target
from drupelet_shared.tensors import Datatype, TensorSpec
from fakes.timed_workers import TimedWorkers
from support.agent.fleet_bench import DEVICE, install, make_config
from support.agent.values import make_activation, make_variant

MB = 10**6
NAMES = ("fast", "slow")
TIMES_MS = {"fast": 1.0, "slow": 5.0}


def make_manifest() -> Manifest:
    variants = tuple(make_variant(name) for name in NAMES)
    paths = [path for variant in variants for path in (variant.path, variant.golden.path)]
    return Manifest(
        name="digits",
        version="1.0.0",
        release=1,
        created=datetime(2026, 1, 1, tzinfo=UTC),
        task="test",
        inputs=(TensorSpec(name="x", datatype=Datatype.FP32, shape=(1,)),),
        outputs=(TensorSpec(name="y", datatype=Datatype.FP32, shape=(1,)),),
        target=Target(device="raspberry_pi_4", architecture="aarch64"),
        variants=variants,
        files=tuple(FileEntry(path=path, sha256="0" * 64, size_bytes=1) for path in paths),
    )


def make_means(*, limit_bytes: int = 500 * MB) -> Means:
    return Means(
        snapshot=DEVICE,
        budget=Budget(limit_bytes, "limits.memory"),
        cores=Cores(1, "1 usable core"),
        goal=Goal(),
        tuning=TuningConfig(runs=20, warmup=1),
    )


class Bench:
    """Plans one package again and again with what was measured before."""

    def __init__(self) -> None:
        self.known = KeptMeasurements()
        self.observed: list[tuple[str, str]] = []
        self.disagreeing: set[str] = set()

    def plan(self, *, fresh: bool = False, means: Means | None = None) -> tuple[Planned, TimedWorkers]:
        workers = TimedWorkers(lambda spec, _: TIMES_MS[spec.variant], golden=self._check)
        planned = make_plan(
            make_manifest(),
            Path("/nowhere"),
            means=means or make_means(),
            known=self.known,
            fresh=fresh,
            observe=lambda stage, detail: self.observed.append((stage, detail)),
            spawn=workers,
        )
        self.known = planned.measurements
        return planned, workers

    def _check(self, spec: WorkerSpec) -> Message:
        if spec.variant in self.disagreeing:
            return Failed(code="golden_mismatch", message=f"{spec.variant} differs")
        return GoldenPassed(difference=0.0)


@pytest.fixture
def bench() -> Bench:
    return Bench()


def measured(workers: TimedWorkers) -> set[str]:
    return {variant for variant, _ in workers.rounds}


def test_every_candidate_is_measured_and_the_fastest_is_chosen(bench: Bench) -> None:
    planned, workers = bench.plan()
    assert planned.variant == "fast"
    assert (planned.plan.threads, planned.plan.p99_ms, planned.plan.memory_budget_bytes) == (1, 1.0, 500 * MB)
    assert measured(workers) == {"fast", "slow"}


def test_each_variant_is_reported_once_when_it_agrees_and_each_candidate_when_it_is_measured(bench: Bench) -> None:
    bench.plan()
    assert [stage for stage, _ in bench.observed] == ["golden_check", "measured"] * 2
    assert bench.observed[0][1] == "fast answers its golden vectors as on the host"
    assert bench.observed[1][1].startswith("fast on 1 threads: p50 1.00 ms, p99 1.00 ms in 20 runs")


def test_what_is_known_is_not_measured_again_but_the_chosen_one_is_checked(bench: Bench) -> None:
    bench.plan()
    bench.observed.clear()
    planned, workers = bench.plan()
    assert (planned.variant, workers.rounds) == ("fast", [])
    assert [spec.variant for spec in workers.specs] == ["fast"]
    assert [detail.endswith("(known)") for _, detail in bench.observed] == [True, True]


def test_a_known_candidate_that_no_longer_agrees_yields_to_the_next(bench: Bench) -> None:
    bench.plan()
    bench.disagreeing = {"fast"}
    planned, workers = bench.plan()
    assert planned.variant == "slow"
    assert [spec.variant for spec in workers.specs] == ["fast", "slow"]


def test_where_no_known_candidate_agrees_all_are_named(bench: Bench) -> None:
    bench.plan()
    bench.disagreeing = {"fast", "slow"}
    with pytest.raises(PlanError, match=r"fast x1: fast differs.*slow x1: slow differs|slow differs.*fast differs"):
        bench.plan()


def test_a_fresh_plan_measures_everything_again(bench: Bench) -> None:
    bench.plan()
    _, workers = bench.plan(fresh=True)
    assert measured(workers) == {"fast", "slow"}


def test_a_candidate_that_disagrees_is_no_measurement(bench: Bench) -> None:
    bench.disagreeing = {"fast"}
    planned, _ = bench.plan()
    assert planned.variant == "slow"
    (records,) = planned.measurements.by_conditions.values()
    assert [record.variant for record in records] == ["slow"]
    assert ("measured", "fast on 1 threads: fast differs") in bench.observed


def test_a_variant_larger_than_the_budget_is_rejected_without_a_worker(bench: Bench) -> None:
    with pytest.raises(PlanError, match=r"needs 10\.0 MB, the memory budget leaves 5\.0 MB"):
        bench.plan(means=make_means(limit_bytes=5 * MB))
    assert bench.observed == []


def with_footprint(activation: Activation, footprint_bytes: int) -> Activation:
    plan = activation.plan.model_copy(update={"footprint_bytes": footprint_bytes})
    return activation.model_copy(update={"plan": plan})


class TestMeans:
    """A device of 4000 MB with 3000 MB free, of which models may use 1000 MB."""

    def budget_mb(self, folder: Path, digest: str, *, model: str = "digits", **limits: object) -> int:
        """Return what a package may use beside `faces` and two releases of `digits`."""
        config = make_config(folder, limits={"memory": "1000MB", "messages": "1B", "memory_share": 1.0, **limits})
        store = Store(config.state_dir)
        store.create()
        install(store, with_footprint(make_activation("faces", digest="f" * 64), 100 * MB))
        install(store, with_footprint(make_activation("digits", release=1), 30 * MB))
        install(store, with_footprint(make_activation("digits", release=2), 7 * MB))
        means = means_for(model, digest, config=config, store=store, read_snapshot=lambda: DEVICE)
        return round(means.budget.limit_bytes / MB)

    def test_the_active_releases_of_other_models_are_in_use(self, tmp_path: Path) -> None:
        # The release it replaces ends before it needs its place.
        assert self.budget_mb(tmp_path, "a" * 64) == 900

    def test_another_model_counts_every_active_release(self, tmp_path: Path) -> None:
        assert self.budget_mb(tmp_path, "a" * 64, model="other") == 893

    def test_the_release_served_beside_the_new_one_is_in_use(self, tmp_path: Path) -> None:
        assert self.budget_mb(tmp_path, "a" * 64, versions=2) == 893

    def test_a_package_does_not_count_against_itself(self, tmp_path: Path) -> None:
        # Release 2 is measured again: release 1 stays beside it.
        assert self.budget_mb(tmp_path, f"{2:064x}", versions=2) == 870

    def test_models_that_can_be_evicted_are_not_in_use(self, tmp_path: Path) -> None:
        assert self.budget_mb(tmp_path, "a" * 64, evict="least-recently-used") == 1000

    def test_cores_are_split_with_the_other_models_and_goals_come_from_the_configuration(self, tmp_path: Path) -> None:
        config = make_config(
            tmp_path,
            tuning={"cores": "split"},
            models={"digits": {"objective": "throughput", "max_p99_ms": 9.0, "contract": {"p99_ms": 20.0}}},
        )
        store = Store(config.state_dir)
        store.create()
        install(store, make_activation("faces", digest="f" * 64))
        means = means_for("digits", "a" * 64, config=config, store=store, read_snapshot=lambda: DEVICE)
        assert means.cores.count == 2
        assert means.goal == Goal(objective="throughput", p99_bound_ms=9.0, contract_p99_ms=20.0)
        assert means.tuning == config.tuning_of("digits")

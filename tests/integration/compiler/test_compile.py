"""One small compile, looked at from all sides."""

from __future__ import annotations

import hashlib
import json
import tomllib
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from drupelet import compile_recipe
from drupelet_host.compiler.state import CompileState
from drupelet_host.errors import ConstraintError, DataError, ModelError
from drupelet_host.packaging.keys import generate_key_pair
from drupelet_host.recipe.schema import Recipe, parse_recipe
from drupelet_shared.engines.registry import load_engine
from drupelet_shared.errors import KeyFileError
from drupelet_shared.package.golden import check_golden, load_golden
from drupelet_shared.package.manifest import Manifest
from drupelet_shared.package.reading import unpack_package
from drupelet_shared.package.signature import PublicKey
from fakes.observer import RecordingObserver
from support.model.tiny_project import RECIPE_SOURCE, write_project


@dataclass(frozen=True)
class Compiled:
    folder: Path
    state: CompileState
    observer: RecordingObserver
    key: PublicKey
    unpacked: Path
    manifest: Manifest
    signed_by: str | None


def recipe(folder: Path, **sections: dict[str, Any]) -> Recipe:
    document = tomllib.loads(RECIPE_SOURCE)
    for name, changes in sections.items():
        document[name] = {**document.get(name, {}), **changes}
    return parse_recipe(document, folder=folder)


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_project(tmp_path_factory.mktemp("project")).parent


@pytest.fixture(scope="module")
def compiled(project: Path) -> Compiled:
    key = generate_key_pair(project / "signing")
    observer = RecordingObserver()
    state = compile_recipe(recipe(project, output={"key": "signing.key"}), observer=observer)
    assert state.package is not None
    unpacked = project / "unpacked"
    package = unpack_package(state.package, unpacked, trusted_keys=[key])
    return Compiled(project, state, observer, key, unpacked, package.manifest, package.signed_by)


def test_the_package_is_signed_and_named_after_the_model(compiled: Compiled) -> None:
    assert isinstance(compiled.key.key, ec.EllipticCurvePublicKey)
    assert compiled.signed_by == compiled.key.id
    assert compiled.state.package == compiled.folder / "build" / "tiny-1.2.0.drupe"
    assert (compiled.manifest.name, compiled.manifest.release) == ("tiny", 5)


def test_every_variant_passes_its_golden_check(compiled: Compiled) -> None:
    assert {"ort-wf16", "ort-static-wi8-ai8"} <= {variant.id for variant in compiled.manifest.variants}
    for variant in compiled.manifest.variants:
        session = load_engine(variant.engine).load(compiled.unpacked / variant.path, threads=1)
        golden = load_golden(compiled.unpacked / variant.golden.path)
        assert golden.samples == variant.golden.samples
        assert check_golden(session, golden, tolerance=variant.golden.tolerance) == 0.0


def test_variants_say_what_was_measured(compiled: Compiled) -> None:
    for variant in compiled.manifest.variants:
        assert variant.size_bytes == (compiled.unpacked / variant.path).stat().st_size
        assert variant.metrics["top1"] > 0.85
        assert 0 < variant.latency.p50_ms <= variant.latency.p99_ms
        assert variant.peak_memory_bytes > 10**7


def test_only_the_pruned_model_is_packed(compiled: Compiled) -> None:
    reference, state = compiled.state.reference, compiled.state
    assert reference is not None
    assert state.pruning is not None
    assert any(after < before for before, after in state.pruning.channels.values())
    assert all(variant.size_bytes < reference.size_bytes for variant in compiled.manifest.variants)


def test_the_lineage_leads_from_the_original_to_the_variants(compiled: Compiled) -> None:
    records = compiled.manifest.lineage
    assert [record.name for record in records] == [
        "evaluate",
        "importance",
        "sensitivity",
        "prune",
        "quantize_aware",
        "export_onnx",
        "store_float16",
        "quantize_dynamic",
        "quantize_static",
        "mix_precision",
        "evaluate_variants",
        "constraints",
    ]
    assert all(later.parent == earlier.digest for earlier, later in pairwise(records))
    assert records[3].parameters["prune_ratio"] == 0.5
    assert records[3].metrics["parameters"] < records[0].metrics["parameters"]


def test_the_report_is_in_the_package_and_beside_it(compiled: Compiled) -> None:
    beside = compiled.folder / "build"
    for suffix in ("json", "html"):
        inside = (compiled.unpacked / f"report.{suffix}").read_bytes()
        assert inside == (beside / f"tiny-1.2.0.report.{suffix}").read_bytes()
    report = json.loads((compiled.unpacked / "report.json").read_text(encoding="utf-8"))
    assert report["parameters_after"] < report["parameters_before"]
    assert report["macs_after"] < report["macs_before"]
    assert {check["constraint"] for check in report["checks"]} == {"max_metric_drop"}
    (note,) = report["notes"]
    assert "also made the choices" in note


def test_the_page_shows_every_group_and_loads_nothing(compiled: Compiled) -> None:
    page = (compiled.unpacked / "report.html").read_text(encoding="utf-8")
    assert page.count("<polyline") == len(compiled.state.curves) > 0
    assert "they are not representative of the device" in page
    assert "://" not in page
    assert "src=" not in page


def test_labels_are_in_the_package(compiled: Compiled) -> None:
    assert (compiled.unpacked / "labels.txt").read_text(encoding="utf-8") == "left\ntop\nright\nbottom\n"


def test_every_decision_is_told(compiled: Compiled) -> None:
    assert compiled.observer.finished[-1] == "package"
    assert any("kept" in decision for decision in compiled.observer.decisions)
    assert "signed the package" in compiled.observer.decisions


def test_two_compiles_give_the_same_variant_bytes(compiled: Compiled, tmp_path: Path) -> None:
    again = compile_recipe(recipe(compiled.folder, output={"folder": str(tmp_path / "again")}))
    assert again.package is not None
    package = unpack_package(again.package, tmp_path / "unpacked", trusted_keys=None)
    assert package.signed_by is None
    first, second = (
        {v.id: hashlib.sha256((folder / v.path).read_bytes()).hexdigest() for v in manifest.variants}
        for folder, manifest in ((compiled.unpacked, compiled.manifest), (package.folder, package.manifest))
    )
    assert first == second


def test_a_constraint_that_is_missed_writes_nothing(project: Path, tmp_path: Path) -> None:
    wanted = recipe(project, constraints={"max_size": "1KB"}, output={"folder": str(tmp_path / "out")})
    with pytest.raises(ConstraintError, match=r"max_size +1\.0 KB \(1000 bytes\) .* missed"):
        compile_recipe(wanted)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("train", "message"),
    [
        ("data.py:wrong_shape", r"train data: a sample has shape \[1, 7, 8\]: the model takes \[1, 8, 8\]"),
        ("data.py:wrong_labels", "train data: labels go from 3 to 6: the model has 4 classes"),
        ("data.py:absent", r"data\.py:absent: there is no such callable"),
    ],
)
def test_data_that_does_not_fit_is_refused_before_the_work_starts(project: Path, train: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        compile_recipe(recipe(project, data={"train": train}))


def test_top1_needs_labels(project: Path) -> None:
    with pytest.raises(DataError, match="validation data: has no labels"):
        compile_recipe(recipe(project, data={"validation": "data.py:no_labels"}, evaluation={"metric": "top1"}))


def test_labels_that_are_not_as_many_as_the_scores_are_refused(project: Path) -> None:
    with pytest.raises(ModelError, match=r"model\.labels has 2 entries: the model gives 4 scores"):
        compile_recipe(recipe(project, model={"labels": ["a", "b"]}))


def test_a_key_that_cannot_sign_is_refused_before_the_work_starts(project: Path) -> None:
    observer = RecordingObserver()
    with pytest.raises(KeyFileError, match="expected a private key"):
        compile_recipe(recipe(project, output={"key": "model.py"}), observer=observer)
    assert observer.passes == []

"""The differences between two packages, two reports and two releases, and what `drupelet diff` prints of them."""

from __future__ import annotations

import dataclasses
import json
from datetime import timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from cryptography.hazmat.primitives.asymmetric import ec

from drupelet_host.cli import cli
from drupelet_host.comparison.facts import Comparison
from drupelet_host.comparison.packages import compare_packages
from drupelet_host.comparison.releases import compare_releases
from drupelet_host.packaging.builder import PackageDescription, build_package
from drupelet_shared.contract.commands import InstalledModel, InstalledModels, InstalledRelease
from drupelet_shared.errors import InvalidValueError
from drupelet_shared.package.manifest import Latency, LineageRecord
from support.agent.values import make_activation, make_variant
from support.package.packages import FILES, build, describe
from support.screen.reports import FLOAT, make_report


def constraints(**limits: float) -> tuple[LineageRecord, ...]:
    return (
        LineageRecord(
            name="constraints", parameters=dict(limits), metrics={}, seconds=0.0, parent=None, digest="0" * 64
        ),
    )


def package(folder: Path, files: dict[str, bytes] | None = None, **changes: object) -> Path:
    folder.mkdir()
    description: PackageDescription = dataclasses.replace(describe(), **changes)  # type: ignore[arg-type]
    return build_package(folder, description, files or FILES).path


def found(comparison: Comparison) -> dict[tuple[str, str], tuple[object, object]]:
    return {(each.section, each.name): (each.before, each.after) for each in comparison.differences}


def diff(*arguments: str | Path) -> Result:
    return CliRunner().invoke(cli, ["diff", *map(str, arguments)])


def test_a_package_is_the_same_as_itself(tmp_path: Path) -> None:
    path = package(tmp_path / "a")
    assert compare_packages(path, path).same
    shown = diff(path, path)
    assert (shown.exit_code, shown.output.splitlines()[-1]) == (0, "no difference")


def test_packages_of_the_same_models_that_were_made_at_other_times_say_so(tmp_path: Path) -> None:
    before = package(tmp_path / "a")
    later = package(tmp_path / "b", created=describe().created + timedelta(days=1))
    [note] = compare_packages(before, later).notes
    assert note.startswith("The models of both packages are the same files (digest of all: ")
    assert note in " ".join(diff(before, later).output.split())
    model = next(path for path in FILES if path.startswith("variants/"))
    other = package(tmp_path / "c", {**FILES, model: FILES[model] + b"more"})
    assert compare_packages(before, other).notes == ()


def test_two_packages_differ_in_what_was_changed_and_in_nothing_else(tmp_path: Path) -> None:
    faster = make_variant().model_copy(
        update={
            "metrics": {"top1": 0.9, "top5": 0.99},
            "latency": Latency(p50_ms=0.5, p99_ms=2.0, threads=1, machine="host"),
        }
    )
    before = package(tmp_path / "a", lineage=constraints(max_size=200_000, max_metric_drop=0.01))
    after = package(
        tmp_path / "b",
        release=2,
        version="1.1.0",
        variants=(faster,),
        created=describe().created + timedelta(days=1),
        lineage=constraints(max_size=150_000, max_metric_drop=0.01),
        files={**FILES, "labels.txt": b"one\nzero\n"},
    )
    differences = found(compare_packages(before, after))
    assert {key for key in differences if key[0] != "package"} == {
        ("variant ort-fp32", "top5"),
        ("variant ort-fp32", "p50 on the host"),
        ("constraints", "max_size"),
        ("files", "labels.txt"),
    }
    assert {name for section, name in differences if section == "package"} == {
        "version",
        "release",
        "created",
        "digest",
    }
    assert differences["variant ort-fp32", "p50 on the host"] == (1.0, 0.5)
    assert differences["variant ort-fp32", "top5"] == (None, 0.99)


def test_variants_tensors_and_signatures_are_compared(tmp_path: Path) -> None:
    small = make_variant("ort-int8")
    files = {**FILES, small.path: bytes(40), small.golden.path: b"not read"}
    tensor = describe().inputs[0].model_copy(update={"shape": (-1, 3, 8, 8)})
    before = package(tmp_path / "a")
    (tmp_path / "b").mkdir()
    changed = dataclasses.replace(describe(), variants=(small, make_variant()), inputs=(tensor,))
    after = build_package(tmp_path / "b", changed, files, signing_key=ec.generate_private_key(ec.SECP256R1())).path
    differences = found(compare_packages(before, after))
    assert differences["variants", "order, best first"] == ("ort-fp32", "ort-int8, ort-fp32")
    assert differences["inputs", "image"] == ("FP32 [-1, 1, 8, 8]", "FP32 [-1, 3, 8, 8]")
    signature = differences["package", "signature"]
    assert (signature[0], str(signature[1]).startswith("claims to be by key ")) == ("none", True)
    shown = diff(before, after)
    assert shown.exit_code == 1
    line = next(line for line in shown.output.splitlines() if line.startswith("variant ort-int8"))
    assert line.split() == ["variant", "ort-int8", "–", "new"]  # noqa: RUF001 - the typographic dash


def test_latencies_of_two_machines_are_said_not_to_be_comparable(tmp_path: Path) -> None:
    elsewhere = make_variant().model_copy(
        update={"latency": Latency(p50_ms=1.0, p99_ms=2.0, threads=1, machine="another")}
    )
    before, after = package(tmp_path / "a"), package(tmp_path / "b", variants=(elsewhere,))
    assert "measured on different machines (host; another)" in diff(before, after).output


def test_json_has_each_difference_with_its_relative_change(tmp_path: Path) -> None:
    faster = make_variant().model_copy(update={"latency": Latency(p50_ms=0.75, p99_ms=2.0, threads=1, machine="host")})
    before, after = package(tmp_path / "a"), package(tmp_path / "b", variants=(faster,))
    shown = diff(before, after, "--json")
    document = json.loads(shown.output)
    assert (shown.exit_code, document["same"]) == (1, False)
    (latency,) = [each for each in document["differences"] if each["name"] == "p50 on the host"]
    assert latency == {
        "section": "variant ort-fp32",
        "name": "p50 on the host",
        "before": 1.0,
        "after": 0.75,
        "unit": "ms",
        "change": -0.25,
    }
    assert json.loads(diff(before, before, "--json").output)["same"] is True


def test_names_of_a_package_are_printed_without_control_characters(tmp_path: Path) -> None:
    tensor = describe().inputs[0].model_copy(update={"name": "[red]\x1b[2J"})
    shown = diff(package(tmp_path / "a"), package(tmp_path / "b", inputs=(tensor,)))
    assert "\x1b" not in shown.output
    assert "[red]" in shown.output


def test_reports_are_compared_by_measurements_and_choices(tmp_path: Path) -> None:
    before = make_report()
    quick = before.variants[0].model_copy(update={"p50_ms": before.variants[0].p50_ms / 2})
    after = before.model_copy(
        update={
            "variants": (quick, *before.variants[1:]),
            "packaged": (FLOAT,),
            "checks": tuple(
                check.model_copy(update={"met": False}) if check.constraint == "max_size" else check
                for check in before.checks
            ),
        }
    )
    paths = [tmp_path / "a.report.json", tmp_path / "b.report.json"]
    for path, report in zip(paths, (before, after), strict=True):
        path.write_bytes(report.to_bytes())
    shown = diff(*paths, "--json")
    differences = {(each["section"], each["name"]): each for each in json.loads(shown.output)["differences"]}
    assert shown.exit_code == 1
    assert differences.keys() == {
        ("report", "packed variants, best first"),
        (f"variant {FLOAT}", "p50"),
        (f"variant {FLOAT}", "meets max_size"),
        ("variant ort-static-wi8-ai8", "meets max_size"),
    }
    assert differences[f"variant {FLOAT}", "p50"]["change"] == pytest.approx(-0.5)
    assert diff(paths[0], paths[0]).exit_code == 0


@pytest.mark.parametrize("kind", ["missing", "other", "broken report", "broken package", "one file"])
def test_what_cannot_be_compared_ends_with_2_and_is_named(tmp_path: Path, kind: str) -> None:
    good = build(tmp_path).path
    report, broken = tmp_path / "r.json", tmp_path / "broken.drupe"
    report.write_text("{}")
    broken.write_bytes(b"not an archive")
    arguments, words = {
        "missing": ((good, tmp_path / "none.drupe"), "none.drupe does not exist"),
        "other": ((good, report), "r.json is a report and the other is not"),
        "broken report": ((report, report), "r.json is not a report that this version reads"),
        "broken package": ((good, broken), "broken.drupe"),
        "one file": ((good,), "name the second package or report too"),
    }[kind]
    shown = diff(*arguments)
    assert shown.exit_code == 2
    assert words in shown.output


def release(number: int, **changes: object) -> InstalledRelease:
    activation = make_activation(release=number)
    fields = ("model", "version", "release", "digest", "variant", "plan")
    made = InstalledRelease(**{name: getattr(activation, name) for name in fields})
    return made.model_copy(update=changes)


def installed(**roles: InstalledRelease) -> InstalledModels:
    model = InstalledModel(model="digits", highest_release=9, **roles)
    return InstalledModels(models=(model,), free_bytes=1)


def test_a_staged_release_is_compared_with_the_one_that_runs_and_otherwise_that_with_the_previous() -> None:
    plan = release(3).plan.model_copy(update={"p99_ms": 1.0})
    held = {"previous": release(1), "active": release(2), "staged": release(3, plan=plan, variant="ort-int8")}
    staged = compare_releases("pi-7", installed(**held), "digits")
    assert (staged.before.place, staged.after.place) == ("pi-7, active", "pi-7, staged")
    assert found(staged)["plan", "p99 on the device"] == (2.0, 1.0)
    assert found(staged)["plan", "variant"] == ("ort-fp32", "ort-int8")
    del held["staged"]
    earlier = compare_releases("pi-7", installed(**held), "digits")
    assert (earlier.before.release, earlier.after.release) == (1, 2)


def test_a_device_with_one_release_or_without_the_model_is_an_error() -> None:
    with pytest.raises(InvalidValueError, match=r"has release 2 \(active\) of 'digits': two are needed"):
        compare_releases("pi-7", installed(active=release(2)), "digits")
    with pytest.raises(InvalidValueError, match="does not have the model 'faces': it has digits"):
        compare_releases("pi-7", installed(active=release(2)), "faces")

"""What a compile repeats after it was ended, after a change of the recipe, and after damage to the cache."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from drupelet import compile_recipe
from drupelet_host.compiler.caching.cache import PassCache
from drupelet_host.compiler.caching.fingerprint import fingerprint_start
from drupelet_host.compiler.start import start_compile
from drupelet_host.recipe.schema import Recipe, parse_recipe
from fakes.observer import RecordingObserver
from support.model.compiled import Compiled, compile_and_verify
from support.model.file_project import file_recipe, two_inputs_recipe, write_files
from support.model.tiny_project import MODEL_SOURCE, RECIPE_SOURCE, write_project

ENTRY = "state.pickle"
# Mixed precision follows times that were measured, so its bytes are another machine's or another minute's.
VARIANTS = ["static", "dynamic", "float16"]
BEFORE_QUANTIZATION = ["evaluate", "importance", "sensitivity", "prune", "quantize_aware", "export_onnx"]
AFTER = ["constraints", "package"]


def recipe(folder: Path, **sections: dict[str, Any]) -> Recipe:
    document = tomllib.loads(RECIPE_SOURCE)
    document["prune"] |= {"iterations": 1, "importance": "auto", "recovery": {"epochs": 1}}
    document["quantize"] |= {"variants": VARIANTS, "method": "minmax"}
    for name, changes in sections.items():
        document[name] = {**document.get(name, {}), **changes}
    return parse_recipe(document, folder=folder)


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_project(tmp_path_factory.mktemp("project")).parent


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def first(project: Path, cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Compiled:
    return compile_and_verify(recipe(project), tmp_path_factory.mktemp("first") / "unpacked", cache=cache)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_files(tmp_path_factory.mktemp("files"))


@pytest.fixture(scope="module")
def files_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("files-cache") / "deep" / "cache"


@pytest.fixture(scope="module")
def stored(files: Path, files_cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Compiled:
    return compile_and_verify(quick(files), tmp_path_factory.mktemp("stored") / "unpacked", cache=files_cache)


def quick(folder: Path, **sections: dict[str, Any]) -> Recipe:
    """A recipe that compiles in a second or two."""
    return file_recipe(folder, **{"quantize": {"variants": ["static", "float16"], "method": "minmax"}, **sections})


def compile_command(folder: Path, cache: Path) -> list[str]:
    """The command that compiles `recipe(folder)`."""
    text = RECIPE_SOURCE.replace("iterations = 2", 'iterations = 1\nimportance = "auto"').replace(
        "epochs = 2", "epochs = 1"
    )
    text = text.replace("samples = 32", f'samples = 32\nmethod = "minmax"\nvariants = {VARIANTS}')
    (folder / "same.toml").write_text(text, encoding="utf-8")
    return [sys.executable, "-m", "drupelet_host", "compile", str(folder / "same.toml"), "--cache", str(cache)]


class EndedError(Exception):
    """Somebody ended the compile."""


class EndingObserver(RecordingObserver):
    """Ends the compile in the middle of a pass."""

    def __init__(self, ends_in: str) -> None:
        super().__init__()
        self._ends_in = ends_in

    def pass_started(self, name: str, *, position: int, count: int) -> None:
        super().pass_started(name, position=position, count=count)
        if name == self._ends_in:
            raise EndedError(name)


def test_a_finished_compile_is_not_done_again(first: Compiled, project: Path, cache: Path, tmp_path: Path) -> None:
    again = compile_and_verify(recipe(project), tmp_path / "unpacked", cache=cache)
    assert first.taken == []
    assert again.repeated == AFTER
    assert again.digests() == first.digests()
    assert [record.digest for record in again.manifest.lineage] == [record.digest for record in first.manifest.lineage]
    assert [record.metrics for record in again.manifest.lineage] == [
        record.metrics for record in first.manifest.lineage
    ]


def test_the_models_are_the_same_bytes_without_a_cache(
    first: Compiled, project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1700000000")
    fresh = compile_and_verify(recipe(project, output={"folder": str(tmp_path / "out")}), tmp_path / "unpacked")
    assert fresh.taken == []
    packed = fresh.packed_digests()
    assert packed
    assert packed.items() <= first.digests().items()
    assert fresh.manifest.created.timestamp() == 1_700_000_000


def check_resumed(wanted: Recipe, folder: Path, *, ends_in: str) -> Compiled:
    observer, cache = EndingObserver(ends_in), folder / "cache"
    with pytest.raises(EndedError):
        compile_recipe(wanted, observer=observer, cache=cache)
    resumed = compile_and_verify(wanted, folder / "unpacked", cache=cache)
    assert resumed.taken == [name for name in observer.finished if name not in AFTER]
    assert resumed.observer.passes[: len(observer.passes)] == observer.passes
    return resumed


def test_a_compile_of_a_module_that_was_ended_goes_on_from_the_last_finished_pass(
    first: Compiled, project: Path, tmp_path: Path
) -> None:
    resumed = check_resumed(recipe(project), tmp_path, ends_in="prune")
    assert resumed.taken == ["evaluate", "importance", "sensitivity"]
    assert resumed.digests() == first.digests()


@pytest.mark.parametrize("ends_in", ["quantize_static", "package"])
def test_a_compile_of_a_file_that_was_ended_goes_on_from_the_last_finished_pass(
    files: Path, tmp_path: Path, ends_in: str
) -> None:
    check_resumed(quick(files), tmp_path, ends_in=ends_in)


def test_a_command_that_was_killed_goes_on_from_the_last_finished_pass(
    first: Compiled, project: Path, tmp_path: Path
) -> None:
    cache = tmp_path / "cache"
    command = compile_command(project, cache)
    with subprocess.Popen(command, cwd=project) as process:
        try:
            wait_until(lambda: len(finished_entries(cache)) >= 3 or process.poll() is not None)
        finally:
            process.send_signal(signal.SIGKILL)
    done = len(finished_entries(cache))
    assert process.returncode == -signal.SIGKILL
    resumed = compile_and_verify(recipe(project), tmp_path / "unpacked", cache=cache)
    cached = [name for name in resumed.observer.finished if name not in AFTER]
    assert resumed.taken == cached[:done]
    assert len(resumed.taken) < len(cached)
    assert resumed.digests() == first.digests()


def test_a_changed_quantization_repeats_only_what_comes_after_the_export(
    first: Compiled, project: Path, cache: Path, tmp_path: Path
) -> None:
    assert first.taken == []
    again = compile_and_verify(recipe(project, quantize={"keep_float": ["*"]}), tmp_path / "unpacked", cache=cache)
    assert again.taken == [*BEFORE_QUANTIZATION, "store_float16", "quantize_dynamic"]
    assert again.repeated == ["quantize_static", "evaluate_variants", *AFTER]


def test_other_calibration_samples_repeat_no_pruning(
    first: Compiled, project: Path, cache: Path, tmp_path: Path
) -> None:
    assert first.taken == []
    again = compile_and_verify(recipe(project, quantize={"samples": 24}), tmp_path / "unpacked", cache=cache)
    assert again.taken == ["evaluate", "importance", "sensitivity", "prune"]


def test_a_changed_pruning_repeats_neither_the_evaluation_nor_the_sensitivity(
    first: Compiled, project: Path, cache: Path, tmp_path: Path
) -> None:
    assert first.taken == []
    again = compile_and_verify(recipe(project, prune={"prune_ratio": 0.25}), tmp_path / "unpacked", cache=cache)
    assert again.taken == ["evaluate", "importance", "sensitivity"]
    assert again.digests() != first.digests()


def test_a_changed_limit_on_the_size_repeats_nothing_where_the_ratio_is_given(
    first: Compiled, project: Path, cache: Path, tmp_path: Path
) -> None:
    assert first.taken == []
    changed = recipe(project, constraints={"max_size": "1MB"})
    again = compile_and_verify(changed, tmp_path / "unpacked", cache=cache)
    assert again.repeated == AFTER


def test_a_limit_on_a_time_that_the_table_has_told_already_repeats_nothing_but_the_judgement(
    first: Compiled, project: Path, cache: Path, tmp_path: Path
) -> None:
    assert first.taken == []
    changed = recipe(project, constraints={"max_latency": 50.0})
    again = compile_and_verify(changed, tmp_path / "unpacked", cache=cache)
    assert again.repeated == AFTER


def test_another_version_and_another_folder_repeat_nothing(
    first: Compiled, project: Path, cache: Path, tmp_path: Path
) -> None:
    changed = recipe(project, model={"version": "2.0.0", "release": 9}, output={"folder": str(tmp_path / "out")})
    again = compile_and_verify(changed, tmp_path / "unpacked", cache=cache)
    assert again.repeated == AFTER
    assert again.digests() == first.digests()
    assert again.manifest.version == "2.0.0"


def test_a_process_of_its_own_that_compiles_a_copy_of_the_project_repeats_nothing(
    first: Compiled, cache: Path, tmp_path: Path
) -> None:
    folder = write_project(tmp_path / "copy").parent
    done = subprocess.run(compile_command(folder, cache), capture_output=True, text=True, timeout=300, check=True)
    said = [line.split() for line in (done.stdout + done.stderr).splitlines()]
    taken = [words[0] for words in said if words[-3:] == ["from", "the", "cache"]]
    assert taken == [name for name in first.observer.finished if name not in AFTER]


def fingerprint(wanted: Recipe, workspace: Path) -> str:
    return fingerprint_start(start_compile(wanted, workspace))


def test_a_compile_starts_from_the_same_digest_in_another_folder(project: Path, tmp_path: Path) -> None:
    folder = write_project(tmp_path / "other").parent
    assert fingerprint(recipe(folder), tmp_path) == fingerprint(recipe(project), tmp_path)


def test_other_weights_share_nothing(project: Path, tmp_path: Path) -> None:
    folder = write_project(tmp_path / "other").parent
    state = torch.load(folder / "weights.pt", weights_only=True)
    torch.save({**state, "classifier.bias": state["classifier.bias"] + 0.01}, folder / "weights.pt")
    assert fingerprint(recipe(folder), tmp_path) != fingerprint(recipe(project), tmp_path)


def test_other_code_with_the_same_weights_shares_nothing(project: Path, tmp_path: Path) -> None:
    folder = write_project(tmp_path / "other").parent
    source = MODEL_SOURCE.replace("self.classifier(x.mean(dim=(2, 3)))", "self.classifier(x.mean(dim=(2, 3))) * 1.5")
    assert source != MODEL_SOURCE
    (folder / "model.py").write_text(source, encoding="utf-8")
    assert fingerprint(recipe(folder), tmp_path) != fingerprint(recipe(project), tmp_path)


@pytest.mark.parametrize(
    "changes",
    [
        {"model": {"outputs": ["scores"]}},
        {"data": {"train": "data.py:unlabelled"}},
        {"data": {"validation": "data.py:train"}},
        {"evaluation": {"metric": "agreement"}},
    ],
)
def test_other_data_names_and_metrics_share_nothing(project: Path, tmp_path: Path, changes: dict[str, Any]) -> None:
    assert fingerprint(recipe(project, **changes), tmp_path) != fingerprint(recipe(project), tmp_path)


def test_a_metric_of_ones_own_is_the_same_metric_the_next_time(files: Path, tmp_path: Path) -> None:
    wanted = two_inputs_recipe(files, evaluation={"metric": "data.py:mean_score"})
    assert fingerprint(wanted, tmp_path) == fingerprint(wanted, tmp_path)


def test_a_changed_metric_shares_nothing(files: Path, tmp_path: Path) -> None:
    folder = write_files(tmp_path / "project")
    source = (folder / "data.py").read_text(encoding="utf-8")
    (folder / "data.py").write_text(source.replace("float(np.mean(", "2 * float(np.mean("), encoding="utf-8")
    changed, unchanged = (
        two_inputs_recipe(place, evaluation={"metric": "data.py:mean_score"}) for place in (folder, files)
    )
    assert fingerprint(changed, tmp_path) != fingerprint(unchanged, tmp_path)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-7])


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 0x10
    path.write_bytes(data)


@pytest.mark.parametrize("damage", [cut, flip, Path.unlink, lambda path: path.write_bytes(b"")])
@pytest.mark.parametrize("what", [ENTRY, "ort-static-wi8-ai8.onnx"])
def test_a_damaged_entry_is_done_again(files: Path, tmp_path: Path, what: str, damage: Callable[[Path], None]) -> None:
    cache = tmp_path / "cache"
    before = compile_and_verify(quick(files), tmp_path / "first", cache=cache)
    (folder,) = {path.parent for path in cache.rglob("ort-static-wi8-ai8.onnx")}
    damage(folder / what)
    after = compile_and_verify(quick(files), tmp_path / "second", cache=cache)
    assert after.repeated == ["quantize_static", *AFTER]
    assert after.digests() == before.digests()


def test_a_damaged_copy_of_the_model_is_made_again(tmp_path: Path) -> None:
    files, cache = write_files(tmp_path / "project"), tmp_path / "cache"
    before = compile_and_verify(quick(files), tmp_path / "first", cache=cache)
    (copy,) = cache.rglob("model.onnx")
    flip(copy)
    after = compile_and_verify(quick(files), tmp_path / "second", cache=cache)
    assert after.repeated == AFTER
    assert after.digests() == before.digests()
    assert copy.read_bytes() == (files / "model.onnx").read_bytes()


def test_a_model_in_another_folder_is_still_known(stored: Compiled, files_cache: Path, tmp_path: Path) -> None:
    moved = write_files(tmp_path / "moved")
    again = compile_and_verify(quick(moved), tmp_path / "unpacked", cache=files_cache)
    assert again.repeated == AFTER
    assert again.packed_digests() == stored.packed_digests()


def test_two_models_in_one_cache_share_no_entry(
    files: Path, stored: Compiled, files_cache: Path, tmp_path: Path
) -> None:
    before = finished_entries(files_cache)
    other = two_inputs_recipe(files, quantize={"variants": ["static"], "method": "minmax"})
    second = compile_and_verify(other, tmp_path / "second", cache=files_cache)
    assert second.taken == stored.taken == []
    assert len(finished_entries(files_cache) - before) == len(second.observer.finished) - len(AFTER)
    assert before <= finished_entries(files_cache)


def test_entries_that_nothing_used_for_two_weeks_are_removed(
    files: Path, stored: Compiled, files_cache: Path, tmp_path: Path
) -> None:
    used = {path.parent for path in stored.state.artifacts.values()}
    for folder in files_cache.iterdir():
        age(folder, days=13)
    old = files_cache / ("0" * 64)
    old.mkdir()
    (old / ENTRY).write_bytes(b"of a compile that nobody asks for any more")
    age(old, days=15)
    again = compile_and_verify(quick(files), tmp_path / "unpacked", cache=files_cache)
    assert again.repeated == AFTER
    assert not old.exists()
    # These have been used just now: the two weeks begin anew.
    PassCache(files_cache).collect(max_age_s=86_400)
    assert used <= set(files_cache.iterdir())


def test_only_its_owner_may_look_into_a_cache(stored: Compiled, files_cache: Path) -> None:
    assert stored.state.package is not None
    assert files_cache.stat().st_mode & 0o777 == 0o700
    assert {folder.stat().st_mode & 0o777 for folder in files_cache.iterdir()} == {0o700}


def finished_entries(cache: Path) -> set[Path]:
    return set(cache.glob(f"*/{ENTRY}"))


def age(folder: Path, *, days: int) -> None:
    then = time.time() - days * 86_400
    os.utime(folder, (then, then))


def wait_until(condition: Callable[[], bool]) -> None:
    while not condition():
        time.sleep(0.01)

"""Ctrl-C in the middle of the pruning: what is said, what is kept, and that the next compile goes on from there."""

from __future__ import annotations

import signal
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

from drupelet_host.recipe.schema import parse_recipe
from support.agent.processes import killed_at_the_end
from support.model.compiled import compile_and_verify
from support.model.tiny_project import RECIPE_SOURCE, write_project

GOES_ON = "going on after an interruption: candidates that were finished then are not made again"
SEARCH = RECIPE_SOURCE.replace("prune_ratio = 0.5\niterations = 2", "max_trials = 4").replace(
    "samples = 32", 'samples = 32\nmethod = "minmax"\nvariants = ["static", "float16"]'
)
RATIO = RECIPE_SOURCE.replace("iterations = 2", "iterations = 3").replace(
    "samples = 32", 'samples = 32\nmethod = "minmax"\nvariants = ["static", "float16"]'
)


def interrupt(folder: Path, cache: Path, *options: str, after: str) -> str:
    """Start a compile, press Ctrl-C once it has said something, and return all that it printed."""
    # A command inherits that SIGINT is ignored, which it is for whatever a shell runs in the background.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    command = [sys.executable, "-m", "drupelet_host", "compile", "recipe.toml", *(options or ("--cache", str(cache)))]
    started = subprocess.Popen(command, cwd=folder, stderr=subprocess.PIPE, text=True)
    with killed_at_the_end(started) as process:
        assert process.stderr is not None
        said = []
        for line in process.stderr:
            said.append(line)
            if line.strip().startswith(after):
                break
        process.send_signal(signal.SIGINT)
        _, rest = process.communicate(timeout=100)
    assert process.returncode == 130, "".join(said) + rest
    return "".join(said) + rest


def parts(cache: Path) -> dict[str, int]:
    """Return when each finished part was written, by name."""
    return {path.name: path.stat().st_mtime_ns for path in cache.glob("*.unfinished/*.part")}


def project(folder: Path, text: str) -> tuple[Path, dict[str, Any]]:
    recipe = write_project(folder)
    recipe.write_text(text, encoding="utf-8")
    return recipe, tomllib.loads(text)


@pytest.mark.slow
@pytest.mark.timeout(400)
@pytest.mark.parametrize(
    ("text", "first", "second"),
    [(SEARCH, "candidate 1:", "candidate 2:"), (RATIO, "step 1:", "step 2:")],
    ids=["search", "ratio"],
)
def test_pruning_goes_on_from_its_last_candidate_and_gives_what_an_uninterrupted_compile_gives(
    tmp_path: Path, text: str, first: str, second: str
) -> None:
    recipe, document = project(tmp_path, text)
    cache = tmp_path / "cache"

    said = interrupt(tmp_path, cache, after=first)
    assert GOES_ON not in said
    assert "interrupted: in prune (pass 4 of " in said
    assert f"Kept for two weeks in {cache}: 3 finished passes, and the finished candidates of prune." in said
    assert f"drupelet compile recipe.toml --cache {cache}\n" in said
    kept = parts(cache)
    assert kept

    said = interrupt(tmp_path, cache, after=second)
    assert GOES_ON in said
    assert said.index(first) < said.index(second)
    # What is trained or measured again is also written again.
    assert kept.items() < parts(cache).items()

    resumed = compile_and_verify(parse_recipe(document, folder=recipe.parent), tmp_path / "resumed", cache=cache)
    assert GOES_ON in resumed.observer.decisions
    assert parts(cache) == {}
    whole = compile_and_verify(parse_recipe(document, folder=recipe.parent), tmp_path / "whole", cache=tmp_path / "new")
    assert resumed.digests() == whole.digests()
    assert [line for line in resumed.observer.decisions if line.startswith(("candidate", "step"))] == [
        line for line in whole.observer.decisions if line.startswith(("candidate", "step"))
    ]
    # What the records hold besides are times, which are never the same twice.
    assert [(record.name, record.digest) for record in resumed.manifest.lineage] == [
        (record.name, record.digest) for record in whole.manifest.lineage
    ]


def test_without_a_cache_an_interrupted_compile_says_that_nothing_is_kept(tmp_path: Path) -> None:
    project(tmp_path, SEARCH)
    said = interrupt(tmp_path, tmp_path / "cache", "--no-cache", after="recovery trains on:")
    assert "With --no-cache nothing is kept, and the same command starts anew:\n" in said
    assert "\n  drupelet compile recipe.toml --no-cache\n" in said

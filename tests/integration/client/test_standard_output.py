"""Commands whose standard output is full, closed, or cannot hold a character: a message and an exit code."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from support.package.served_packages import make_keys, make_package

COMMANDS = [
    ("--help",),
    ("--version",),
    ("push", "--help"),
    ("schema", "recipe"),
    ("completion", "bash"),
    ("inspect", "PACKAGE"),
    ("inspect", "PACKAGE", "--json"),
    ("verify", "PACKAGE", "--key", "KEY"),
]


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("package")
    keys = make_keys(folder)
    return {"PACKAGE": str(make_package(folder, keys)), "KEY": str(keys.public)}


def command(words: tuple[str, ...], files: dict[str, str]) -> list[str]:
    return [sys.executable, "-m", "drupelet_host", *(files.get(word, word) for word in words)]


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_a_full_standard_output_is_an_error_on_one_line(words: tuple[str, ...], files: dict[str, str]) -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            command(words, files), stdout=full, stderr=subprocess.PIPE, text=True, check=False, timeout=60
        )
    assert done.returncode == 1
    assert done.stderr == "error: standard output: No space left on device [output_failed]\n"


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_a_reader_that_has_read_enough_is_no_error_to_tell(words: tuple[str, ...], files: dict[str, str]) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run(
        command(words, files), stdout=writing, stderr=subprocess.PIPE, text=True, check=False, timeout=60
    )
    os.close(writing)
    assert done.stderr == ""
    assert done.returncode == 1


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
def test_characters_that_the_locale_does_not_have_end_no_command(
    words: tuple[str, ...], files: dict[str, str], encoding: str
) -> None:
    environment = {**os.environ, "PYTHONIOENCODING": encoding, "PYTHONUTF8": "0"}
    done = subprocess.run(command(words, files), capture_output=True, check=False, timeout=60, env=environment)
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout


def test_a_closed_standard_output_ends_no_command(files: dict[str, str]) -> None:
    line = 'exec "$@" >&-'
    words = ["bash", "-c", line, "bash", *command(("inspect", "PACKAGE"), files)]
    done = subprocess.run(words, stderr=subprocess.PIPE, text=True, check=False, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")

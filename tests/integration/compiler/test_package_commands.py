"""`drupelet keygen`, `sign`, `verify` and `inspect` as a person runs them."""

from __future__ import annotations

import dataclasses
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from drupelet_host.packaging.builder import build_package
from drupelet_shared.package.reading import unpack_package
from drupelet_shared.package.trust import load_public_key
from support.package.packages import FILES, build, describe


def drupelet(*arguments: str | Path, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "drupelet_host", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, cwd=cwd)


@pytest.fixture
def key(tmp_path: Path) -> Path:
    """The prefix of a key pair that the command made."""
    made = drupelet("keygen", tmp_path / "k")
    assert made.returncode == 0, made.stderr
    return tmp_path / "k"


def test_keygen_without_a_prefix_writes_drupelet_key_and_pub_and_refuses_to_do_it_again(tmp_path: Path) -> None:
    made = drupelet("keygen", cwd=tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"drupelet.key", "drupelet.pub"}
    assert load_public_key(tmp_path / "drupelet.pub").id in made.stdout
    again = drupelet("keygen", cwd=tmp_path)
    assert again.returncode == 1
    assert again.stderr.endswith("[key_invalid]\n")


def test_a_package_that_was_signed_verifies_packed_and_unpacked(tmp_path: Path, key: Path) -> None:
    path = build(tmp_path).path
    assert drupelet("sign", path, "--key", f"{key}.key").returncode == 0
    unpack_package(path, tmp_path / "folder", trusted_keys=None)
    for package in (path, tmp_path / "folder"):
        verified = drupelet("verify", package, "--key", f"{key}.pub")
        assert verified.returncode == 0, verified.stderr
        assert load_public_key(tmp_path / "k.pub").id in verified.stdout


def test_verify_takes_a_trust_folder_and_prints_json(tmp_path: Path, key: Path) -> None:
    built = build(tmp_path)
    drupelet("sign", built.path, "--key", f"{key}.key", "--output", tmp_path / "signed.drupe")
    verified = drupelet("verify", tmp_path / "signed.drupe", "--trust", tmp_path, "--json")
    assert verified.returncode == 0, verified.stderr
    assert json.loads(verified.stdout) == {
        "valid": True,
        "name": "digits",
        "version": "1.0.0",
        "release": 1,
        "digest": built.digest,
        "signed_by": load_public_key(tmp_path / "k.pub").id,
    }


def test_verify_refuses_an_unsigned_package_with_its_code(tmp_path: Path, key: Path) -> None:
    path = build(tmp_path).path
    refused = drupelet("verify", path, "--key", f"{key}.pub")
    assert (refused.returncode, refused.stdout) == (1, "")
    assert refused.stderr.endswith("[signature_missing]\n")
    refused = drupelet("verify", path, "--key", f"{key}.pub", "--json")
    assert refused.returncode == 1
    answer = json.loads(refused.stdout)
    assert (answer["valid"], answer["code"]) == (False, "signature_missing")


def test_verify_without_a_key_is_wrong_usage(tmp_path: Path) -> None:
    refused = drupelet("verify", build(tmp_path).path)
    assert refused.returncode == 2
    assert "--key FILE or --trust FOLDER" in refused.stderr


def test_a_package_that_is_not_there_is_wrong_usage(tmp_path: Path) -> None:
    assert drupelet("inspect", tmp_path / "none.drupe").returncode == 2


def test_inspect_shows_the_package_and_says_that_nobody_checked_the_signature(tmp_path: Path, key: Path) -> None:
    path = build(tmp_path).path
    assert "none" in drupelet("inspect", path).stdout
    drupelet("sign", path, "--key", f"{key}.key")
    shown = drupelet("inspect", path).stdout
    assert "NOT CHECKED" in shown
    for text in ("digits 1.0.0", "ort-fp32", "labels.txt", "raspberry-pi-4"):
        assert text in shown


def test_inspect_with_a_key_checks_the_signature(tmp_path: Path, key: Path) -> None:
    path = build(tmp_path).path
    drupelet("sign", path, "--key", f"{key}.key")
    document = json.loads(drupelet("inspect", path, "--key", f"{key}.pub", "--json").stdout)
    assert document["signature"] == {"state": "valid", "key_id": load_public_key(tmp_path / "k.pub").id}
    assert document["manifest"]["name"] == "digits"


def test_inspect_keeps_whole_variants_and_their_latency_in_80_columns_and_everything_in_a_pipe(tmp_path: Path) -> None:
    path = build(tmp_path).path
    terminal = {**os.environ, "COLUMNS": "80", "TTY_COMPATIBLE": "1", "NO_COLOR": "1", "TERM": "xterm"}
    command = [sys.executable, "-m", "drupelet_host", "inspect", str(path)]
    shown = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True, env=terminal).stdout
    heading = next(line for line in shown.splitlines() if "p50" in line)
    assert max(map(len, re.sub(r"\x1b\[[\d;]*m", "", shown).splitlines())) <= 80
    assert "p99" in heading
    assert re.search(r"ort-fp32.* ms .* ms ", shown)
    assert "In a wider window: " in shown
    piped = drupelet("inspect", path).stdout
    assert "peak memory" in piped
    assert "In a wider window" not in piped


def test_inspect_prints_no_control_characters_of_a_package(tmp_path: Path) -> None:
    description = describe()
    tensor = description.inputs[0].model_copy(update={"name": "[red]\x1b[2J"})
    hostile = build_package(tmp_path, dataclasses.replace(description, inputs=(tensor,)), FILES)
    shown = drupelet("inspect", hostile.path).stdout
    assert "\x1b" not in shown
    assert "[red]" in shown


@pytest.mark.parametrize("command", ["keygen", "sign", "verify", "inspect"])
def test_every_command_explains_itself_with_an_example(command: str) -> None:
    helped = drupelet(command, "--help")
    assert helped.returncode == 0
    assert f"\nExamples:\n  drupelet {command} " in helped.stdout

"""What people get wrong: each message names the thing, what was given, what is expected or what to do."""

from __future__ import annotations

import sys
import tomllib
from pathlib import Path

import pytest

from drupelet_host.cli import main
from support.broker.brokers import Broker, free_port
from support.model.tiny_project import RECIPE_SOURCE, write_project
from support.package.served_packages import make_keys, make_package

# A name for the input; the words; what the message has; the exit code.
FILES_AND_NAMES = [
    ("unknown command", "stauts", ["'stauts'", "Did you mean 'status'?"], 2),
    ("command of the device", "doctor", ["'doctor'", "drupelet-agent doctor"], 2),
    ("unknown option", "keygen --jsn", ["'--jsn'", "Did you mean '--json'?"], 2),
    ("package that is not there", "inspect digits-1.0.drupe", ["'digits-1.0.drupe'", "'digits-1.0.0.drupe'?"], 2),
    ("model in place of a package", "inspect model.onnx", ["package model.onnx", "not an archive"], 1),
    ("public key to sign with", "sign digits-1.0.0.drupe --key maker.pub", ["maker.pub", "private key", ".key"], 1),
    ("private key to verify with", "verify digits-1.0.0.drupe --key maker.key", ["maker.key", "public key", ".pub"], 1),
    ("key that is not there", "sign digits-1.0.0.drupe --key no.key", ["no.key", "No such file"], 1),
    ("key that exists", "keygen maker", ["maker.pub exists", "never overwritten"], 1),
    ("folder that is not there", "keygen nowhere/maker", ["nowhere/maker.key", "no folder nowhere", "make it"], 1),
    ("target without a table", "estimate model.onnx --target toaster", ["'toaster'", "raspberry_pi_4"], 1),
    ("unknown engine", "estimate model.onnx --engine tensorrt", ["'tensorrt'", "'onnxruntime'"], 2),
    ("source in place of a model", "estimate model.py", ["model.py", ".onnx, .pt2, .tflite, .param or .drupe"], 1),
    ("no model file", "init model.txt", ["'model.txt'", "a factory (model.py:build)"], 2),
    ("malformed shape", "init model.py:build --input-shape 1,3,x", ["'1,3,x'", "1,3,224,224"], 2),
    ("unknown factory", "init model.py:bild --input-shape 1,1,8,8", ["model.py:bild", "the module has", "build"], 1),
    ("file that is no request", "infer digits model.py --device pi-1", ["model.py", "JPEG or PNG", ".npy", ".json"], 1),
    ("device and pool", "infer digits x.json --device pi-1 --pool door", ["--device pi-1", "--pool door"], 2),
    ("no device", "rollback digits", ["--device NAME", "--all"], 2),
    (
        "source that no device fetches",
        "deploy m --version 1 --source ftp://x --all",
        ["ftp://x", "https://", "file:"],
        2,
    ),
    ("settings that are not there", "--config no.toml status", ["--config", "'no.toml'"], 2),
    ("broker without a scheme", "status --broker broker.local", ["'broker.local'", "mqtt://"], 2),
    ("host that is not known", "status --broker mqtt://no.invalid", ["no.invalid:1883", "Check the host's name"], 1),
]
RECIPES = [
    ("typo", "prune_ratio = 0.5", "prun_ratio = 0.5", ["prune.prun_ratio", "did you mean 'prune_ratio'?"]),
    ("range", "prune_ratio = 0.5", "prune_ratio = 1.5", ["prune.prune_ratio = 1.5", "less than 1"]),
    ("shape", "[1, 1, 8, 8]", "[1, 3, 8, 8]", ["[1, 3, 8, 8]", "expected input"]),
    ("data function", "data.py:train", "data.py:trian", ["data.py:trian", "the module has", "train"]),
    ("engine", "[output]", '[export]\nengines = ["tensorrt"]\n[output]', ["'tensorrt'", "'onnxruntime'"]),
    ("target", "[output]", '[target]\ndevice = "toaster"\n[output]', ["'toaster'", "raspberry_pi_4"]),
    ("key", "[output]", '[output]\nkey = "no.key"', ["output.key = 'no.key'", "there is no file"]),
    ("size", "[constraints]", '[constraints]\nmax_size = "12 parsecs"', ["'12 parsecs'", "KiB"]),
    ("weights", '"weights.pt"', '"no.pt"', ["model.weights = 'no.pt'", "there is no file"]),
    ("labels", '"left", "top"', '"left"', ["model.labels has 3 entries", "4 scores"]),
    ("folder", 'folder = "build"', 'folder = "/proc/x"', ["output folder /proc/x", "name another"]),
    ("pattern", "[prune.recovery]", '[prune.layers]\n"nolayer*" = 0.5\n[prune.recovery]', ["nolayer*", "stem, conv1"]),
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a key pair, a package, a model and a project."""
    folder = tmp_path_factory.mktemp("work")
    write_project(folder)
    make_package(folder, make_keys(folder))
    (folder / "x.json").write_text('{"inputs": []}', encoding="utf-8")
    (folder / "model.txt").touch()
    return folder


@pytest.fixture(autouse=True)
def _work_in(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    for name in ("DRUPELET_BROKER", "DRUPELET_DEVICE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(folder / "config"))


def refuse(words: list[str], monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> tuple[str, object]:
    """Run a command line; return what is printed from the line of the error on, and the exit code."""
    monkeypatch.setattr(sys, "argv", ["drupelet", *words])
    with pytest.raises(SystemExit) as raised:
        main()
    printed = capfd.readouterr()
    assert printed.out == ""
    assert "Traceback" not in printed.err
    _, begin, message = printed.err.partition("error: ")
    assert begin
    return message, raised.value.code


@pytest.mark.parametrize(
    ("words", "parts", "code"), [case[1:] for case in FILES_AND_NAMES], ids=[case[0] for case in FILES_AND_NAMES]
)
def test_a_wrong_command_line_is_answered_with_what_is_wrong_and_what_to_do(
    words: str, parts: list[str], code: int, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    message, status = refuse(words.split(), monkeypatch, capfd)
    assert [part for part in parts if part not in message] == [], message
    assert status == code
    assert message.rstrip().endswith("]")


@pytest.mark.parametrize("case", RECIPES, ids=lambda case: case[0])
def test_a_wrong_recipe_is_answered_with_the_key_the_value_and_what_is_expected(
    folder: Path,
    case: tuple[str, str, str, list[str]],
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    _, right, wrong, parts = case
    text = RECIPE_SOURCE.replace(right, wrong, 1)
    assert tomllib.loads(text) != tomllib.loads(RECIPE_SOURCE)
    (folder / "wrong.toml").write_text(text, encoding="utf-8")
    message, status = refuse(["check", "wrong.toml"], monkeypatch, capfd)
    assert [part for part in parts if part not in message] == [], message
    assert status == 1


@pytest.mark.parametrize(
    "words", ["status", "list", "top --once", "watch digits", "dashboard", "infer digits x.json --device pi-1"]
)
def test_without_a_broker_every_command_says_what_to_start(
    words: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    url = f"mqtt://localhost:{free_port()}"
    message, status = refuse([*words.split(), "--broker", url], monkeypatch, capfd)
    assert "no MQTT broker listens there. Start one (on Debian: `sudo systemctl start mosquitto`)" in message
    assert status == 1


@pytest.mark.parametrize("words", ["status --device pi-9", "compile recipe.toml --device pi-9", "list"])
def test_a_device_that_nobody_knows_is_found_at_once(
    embedded: Broker, words: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    where = ["--broker", embedded.url, "--prefix", "nobody/here"]
    message, status = refuse([*words.split(), *where], monkeypatch, capfd)
    assert "'nobody/here'" in message
    assert message.endswith("[device_offline]\n")
    assert status == 1

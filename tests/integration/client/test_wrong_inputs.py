"""What people get wrong: each message names the thing, what was given, what is expected or what to do."""

from __future__ import annotations

import signal
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from drupelet_host.cli import main
from support.agent.fleets import announcing, birth, model_state
from support.broker.brokers import Broker, free_port
from support.model.onnx_models import write_add_model
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
    ("link to nothing", "inspect dangling.drupe", ["'dangling.drupe'", "a link to 'nowhere', which is not there"], 2),
    ("link to itself", "check loop.toml", ["'loop.toml'", "is a link to 'loop.toml'"], 2),
    (
        "output in no folder",
        "sign digits-1.0.0.drupe --key maker.key --output no/x",
        ["no folder 'no'", "make it first"],
        2,
    ),
    ("output to a device", "sign digits-1.0.0.drupe --key maker.key --output /dev/null", ["not a file", "new one"], 2),
    ("recipe in another encoding", "check latin.toml", ["latin.toml", "line 2 is not UTF-8", "0xe9"], 1),
    ("model that is a folder", "init folder.onnx", ["folder.onnx is a folder", "expected a file"], 1),
    ("program that is none", "init empty.pt2", ["empty.pt2", "torch.export.save"], 1),
    ("factory that exits", "init exits.py:build --input-shape 1,1,8,8", ["exits.py:build", "SystemExit: 3"], 1),
    ("model name", "remove no/such --device pi-1", ["'no/such'", "1 to 64 letters"], 2),
    ("name of an own model", "init model.onnx --name a/b", ["name = 'a/b'", "1 to 64 letters"], 1),
    ("no finite time", "status --timeout inf", ["--timeout", "'inf' is not a finite number"], 2),
    ("more than a year", "status --timeout 1e12", ["--timeout", "'1e12' is longer than a year"], 2),
    ("no number", "status --timeout nan", ["--timeout", "'nan' is not a finite number"], 2),
    ("wildcards in the prefix", "status --prefix +/#", ["'+/#'", "drupelet/v1"], 2),
    ("empty prefix", "status --prefix /", ["'/'", "drupelet/v1"], 2),
    ("port out of range", "status --broker mqtt://localhost:99999", ["localhost:99999", "1 to 65535"], 2),
    ("port of letters", "status --broker mqtt://localhost:x", ["localhost:x", "1 to 65535"], 2),
    ("port zero", "status --broker mqtt://localhost:0", ["localhost:0", "1 to 65535"], 2),
    ("IPv6 address", "status --broker mqtt://[::1]:1", ["broker [::1]:1", "Start one"], 1),
    ("websocket port", "dashboard --websocket ws://x:99999/y", ["ws://x:99999/y", "ws://host[:port]/path"], 2),
    ("place to compute", "compile recipe.toml --on local:0", ["--on 'local:0'", "local:N"], 2),
    ("no device in a list", "compile recipe.toml --device ,", ["--device", "NAME,NAME"], 2),
    ("device name", "compile recipe.toml --device pi/7", ["'pi/7'", "1 to 64 letters"], 2),
    ("request that is no JSON", "infer digits bad.json --device pi-1", ["bad.json", "line 1 column 2"], 1),
    ("request without inputs", "infer digits list.json --device pi-1", ["list.json", '{"inputs": [...]}'], 1),
    ("digest", "deploy m --digest abc --source https://x/y --device pi-1", ["digest", "64 lower-case"], 2),
    ("waves", "rollout m --version 2 --source https://x/y --waves -1", ["'-1'", "such as 10%"], 2),
    ("gate beyond all", "rollout m --version 2 --source https://x/y --gate errors<200%", ["'errors<200%'", "100%"], 2),
    ("resumed path", "rollout --resume ../../etc", ["'../../etc'", "20260301T120000-9f86d0"], 2),
    ("empty package to estimate", "estimate empty.drupe", ["package empty.drupe", "0 bytes"], 1),
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
    for name in ("model.txt", "empty.pt2", "empty.drupe"):
        (folder / name).touch()
    (folder / "dangling.drupe").symlink_to("nowhere")
    (folder / "loop.toml").symlink_to("loop.toml")
    (folder / "folder.onnx").mkdir()
    write_add_model(folder / "model.onnx")
    (folder / "latin.toml").write_bytes(b'[model]\nname = "caf\xe9"\n')
    (folder / "exits.py").write_text("raise SystemExit(3)\n", encoding="utf-8")
    (folder / "bad.json").write_text("{", encoding="utf-8")
    (folder / "list.json").write_text("[1]", encoding="utf-8")
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


def test_a_recipe_with_a_byte_order_mark_is_read(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    (folder / "marked.toml").write_bytes(b"\xef\xbb\xbf[model]\nnaem = 1\n")
    message, _ = refuse(["check", "marked.toml"], monkeypatch, capfd)
    assert "did you mean 'name'?" in message


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        ("watch digits --device pi-9", "device 'pi-9' has not announced itself: did you mean 'pi-1'?"),
        ("watch digit", "no device has a model 'digit': did you mean 'digits'?"),
        ("watch digits", "no window of digits has arrived yet"),
    ],
)
def test_watch_says_why_nothing_arrives(embedded: Broker, words: str, hint: str) -> None:
    with announcing(embedded, [birth("pi-1"), model_state("pi-1")], tell=list, every_s=60):
        watching = subprocess.Popen(
            [sys.executable, "-m", "drupelet_host", *words.split(), "--broker", embedded.url],
            stderr=subprocess.PIPE,
            text=True,
        )
        assert watching.stderr is not None
        lines = [watching.stderr.readline() for _ in range(2)]
        watching.send_signal(signal.SIGINT)
        watching.communicate()
    assert hint in lines[1]
    assert watching.returncode == 130


@pytest.mark.parametrize("words", ["status --device pi-9", "compile recipe.toml --device pi-9", "list"])
def test_a_device_that_nobody_knows_is_found_at_once(
    embedded: Broker, words: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    where = ["--broker", embedded.url, "--prefix", "nobody/here"]
    message, status = refuse([*words.split(), *where], monkeypatch, capfd)
    assert "'nobody/here'" in message
    assert message.endswith("[device_offline]\n")
    assert status == 1

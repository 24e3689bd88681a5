"""What people expect of any command: help, version, exit codes, colours, folders, completion."""

from __future__ import annotations

import json
import os
import pty
import queue
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TextIO

import pytest
from paho.mqtt.client import MQTTMessage

from docs_generator.commands import Program, agent_program, host_program
from drupelet_agent import __version__
from drupelet_shared.exit_codes import EXIT_CODES
from fakes.device import NAME, fake_device
from support.agent.agents import agent_command, run_agent_command, write_config
from support.agent.processes import killed_at_the_end
from support.broker.brokers import Broker
from support.package.served_packages import make_keys, make_package

PROGRAMS = {"drupelet": "drupelet_host", "drupelet-agent": "drupelet_agent"}
COLOUR = re.compile(rb"\x1b\[[0-9;]*3[0-7]")


def run(
    program: str, *words: str | Path, environment: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("DRUPELET_", "XDG_"))}
    return subprocess.run(
        [sys.executable, "-m", PROGRAMS[program], *map(str, words)],
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
        env={**inherited, **(environment or {})},
    )


@pytest.mark.parametrize("program", PROGRAMS)
def test_a_program_says_its_version(program: str) -> None:
    done = run(program, "--version")
    assert (done.returncode, done.stdout, done.stderr) == (0, f"{program} {__version__}\n", "")


@pytest.mark.parametrize("program", PROGRAMS)
def test_a_program_without_a_command_shows_how_it_is_used_and_what_its_exit_codes_mean(program: str) -> None:
    done = run(program)
    assert (done.returncode, done.stdout) == (2, "")
    for code, meaning in EXIT_CODES.items():
        assert re.search(rf"^  {code} +{re.escape(meaning)}$", done.stderr, re.MULTILINE), code


@pytest.mark.parametrize("program", [host_program(), agent_program()], ids=lambda program: program.name)
def test_every_command_has_a_summary_an_example_of_itself_and_a_meaning_for_each_option(program: Program) -> None:
    for command in (program.itself, *program.commands):
        assert command.summary, command.name
        assert command.examples, command.name
        assert all(re.match(rf"(sudo )?{program.name}\b", example) for example in command.examples), command.name
        assert all(command.name.rpartition(" ")[2] in example for example in command.examples), command.name
        assert all(option.meaning for option in command.options), command.name


@pytest.mark.parametrize("program", PROGRAMS)
def test_wrong_usage_is_exit_status_2(program: str) -> None:
    for words in (["completion", "bash", "--no-such-option"], ["no-such-command"]):
        done = run(program, *words)
        assert (done.returncode, done.stdout) == (2, "")
        *usage, error = done.stderr.splitlines()
        assert usage[0].startswith(f"usage: {program} ")
        assert re.fullmatch(r"error: no such .*no-such.* \[wrong_usage\]", error)


def test_a_refusal_is_exit_status_1_with_a_code_at_the_end_of_the_line(tmp_path: Path) -> None:
    agent = run("drupelet-agent", "--config", tmp_path / "absent.toml", "list")
    (tmp_path / "not.drupe").write_bytes(b"no package")
    host = run("drupelet", "inspect", tmp_path / "not.drupe")
    assert (agent.returncode, host.returncode) == (1, 1)
    assert agent.stderr.endswith("[config_invalid]\n")
    assert host.stderr.endswith("[archive_invalid]\n")


def test_an_interrupted_command_is_exit_status_130(embedded: Broker, tmp_path: Path) -> None:
    (tmp_path / "x.json").write_text('{"inputs": []}')
    command = [sys.executable, "-m", "drupelet_host", "infer", "nothing", str(tmp_path / "x.json")]
    command += ["--device", NAME, "--broker", embedded.url, "--timeout", "60"]
    requests: queue.Queue[MQTTMessage] = queue.Queue()
    # The device never answers, so the command waits.
    with fake_device(embedded, requests.put):
        assert interrupted(command, once=lambda _: requests.get(timeout=60)) == 130


def test_an_interrupted_install_is_exit_status_130(embedded: Broker, tmp_path: Path) -> None:
    keys = make_keys(tmp_path)
    config = write_config(tmp_path, embedded, extra="tuning.max_seconds = 60.0\n")
    text = config.read_text(encoding="utf-8").replace("tuning.runs = 10", "tuning.runs = 100000000")
    config.write_text(text, encoding="utf-8")
    (tmp_path / "trust/maker.pub").write_bytes(keys.public.read_bytes())
    package = make_package(tmp_path, keys)
    # It says so when the package is verified, and then measures for a minute.
    assert interrupted(agent_command(config, "install", str(package)), once=lambda said: said.readline()) == 130
    assert json.loads(run_agent_command(config, "list", "--json").stdout) == {}


def interrupted(command: list[str], *, once: Callable[[TextIO], object]) -> int:
    """The exit status of a command that gets Ctrl-C once it is at work."""
    # A command inherits that SIGINT is ignored, which it is for whatever a shell runs in the background.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    with killed_at_the_end(subprocess.Popen(command, stderr=subprocess.PIPE, text=True)) as process:
        assert process.stderr is not None
        once(process.stderr)
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=60)
    return process.returncode


def shown_in_a_terminal(*words: str | Path, environment: Mapping[str, str]) -> bytes:
    """What `drupelet` writes to a terminal."""
    parent, child = pty.openpty()
    command = [sys.executable, "-m", "drupelet_host", *map(str, words)]
    inherited = {name: value for name, value in os.environ.items() if name != "NO_COLOR"}
    started = subprocess.Popen(command, stdout=child, stderr=child, env={**inherited, "TERM": "xterm", **environment})
    with killed_at_the_end(started):
        os.close(child)
        text = b""
        # The terminal is gone when the last process that had it has ended.
        while chunk := read(parent):
            text += chunk
    os.close(parent)
    return text


def read(descriptor: int) -> bytes:
    try:
        return os.read(descriptor, 1 << 16)
    except OSError:
        return b""


def test_no_color_takes_the_colours_out_of_progress(tmp_path: Path) -> None:
    from support.model.tiny_project import write_project  # noqa: PLC0415 - it imports torch, which the others do without

    recipe = write_project(tmp_path)
    cache = {"XDG_CACHE_HOME": str(tmp_path / "cache")}
    coloured = shown_in_a_terminal("compile", recipe, environment=cache)
    plain = shown_in_a_terminal("compile", recipe, environment={**cache, "NO_COLOR": "1"})
    assert COLOUR.search(coloured)
    assert not COLOUR.search(plain)
    assert b"package:" in plain
    assert (tmp_path / "cache/drupelet/compile").is_dir()


def settings(folder: Path, text: str) -> dict[str, str]:
    file = folder / "drupelet/config.toml"
    file.parent.mkdir(exist_ok=True)
    file.write_text(text, encoding="utf-8")
    return {"XDG_CONFIG_HOME": str(folder)}


def test_the_settings_file_gives_defaults_that_the_environment_and_options_override(tmp_path: Path) -> None:
    (tmp_path / "x.json").write_text('{"inputs": []}')
    environment = settings(tmp_path, 'broker = "mqtt://anna@first.invalid"\ndevice = "pi-7"\npassword_file = "word"\n')
    # It belongs to anna and the first broker: the others ask for no password.
    (tmp_path / "drupelet/word").write_text("secret")
    request = ("infer", "digits", tmp_path / "x.json")
    assert "broker first.invalid:1883" in run("drupelet", *request, environment=environment).stderr
    environment["DRUPELET_BROKER"] = "mqtt://second.invalid"
    assert "broker second.invalid:1883" in run("drupelet", *request, environment=environment).stderr
    option = run("drupelet", *request, "--broker", "mqtt://third.invalid", environment=environment)
    assert "broker third.invalid:1883" in option.stderr


def test_a_settings_file_with_faults_is_refused_with_all_of_them(tmp_path: Path) -> None:
    (tmp_path / "x.json").write_text("{}")
    environment = settings(tmp_path, 'brokr = "mqtt://broker.local"\ndevice = 7\n')
    done = run("drupelet", "infer", "digits", tmp_path / "x.json", environment=environment)
    assert done.returncode == 1
    assert "brokr: unknown key; did you mean 'broker'?" in done.stderr
    assert "device = 7" in done.stderr
    assert done.stderr.endswith("[settings_invalid]\n")


@pytest.mark.parametrize("place", ["before", "after"])
def test_the_settings_file_is_named_before_or_after_the_command(tmp_path: Path, place: str) -> None:
    (tmp_path / "x.json").write_text('{"inputs": []}')
    file = tmp_path / "mine.toml"
    file.write_text('broker = "mqtt://named.invalid"\ndevice = "pi-7"\n')
    environment = settings(tmp_path, "nonsense, which is not read")
    before, after = (("--config", file), ()) if place == "before" else ((), ("--config", file))
    done = run("drupelet", *before, "infer", "digits", tmp_path / "x.json", *after, environment=environment)
    assert "broker named.invalid:1883" in done.stderr
    helped = run("drupelet", *before, "infer", *after, "--help", environment=environment)
    assert "mqtt://named.invalid" in helped.stdout


def test_a_command_that_talks_to_no_device_does_not_read_the_settings(tmp_path: Path) -> None:
    assert run("drupelet", "keygen", tmp_path / "maker", environment=settings(tmp_path, "nonsense")).returncode == 0


@pytest.mark.parametrize(("program", "words"), [("drupelet", ["schema", "recipe"]), ("drupelet-agent", ["schema"])])
def test_a_schema_is_printed_as_it_is_published(program: str, words: list[str]) -> None:
    name = "recipe" if program == "drupelet" else "agent"
    published = Path(__file__).parents[3] / f"shared/docs/schemas/{name}.schema.json"
    assert run(program, *words).stdout == published.read_text(encoding="utf-8")

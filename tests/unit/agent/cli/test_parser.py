"""The command line as a whole: its commands, its errors and its exit codes."""

from __future__ import annotations

import argparse
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from drupelet_agent import __version__
from drupelet_agent.cli import run
from drupelet_agent.cli.command import add_command, describe_release, load_config, print_progress
from drupelet_agent.cli.parser import main, make_parser
from drupelet_agent.install.activation import Progress
from drupelet_shared.errors import BusyError
from drupelet_shared.exit_codes import EXIT_CODES, EXIT_FAILED, EXIT_INTERRUPTED, EXIT_OK, EXIT_USAGE
from support.agent.command_lines import write_agent_config
from support.agent.root_logger import restored_root_logger
from support.agent.values import make_activation
from support.broker.brokers import free_port

COMMANDS = ("run", "install", "list", "plan", "tune", "check", "rollback", "doctor", "schema", "completion")


def subcommands() -> dict[str, argparse.ArgumentParser]:
    (action,) = (one for one in make_parser()._actions if isinstance(one, argparse._SubParsersAction))
    return dict(action.choices)


def test_every_command_is_there_with_help_and_an_example() -> None:
    commands = subcommands()
    assert tuple(commands) == COMMANDS
    for name, parser in commands.items():
        assert (parser.epilog or "").startswith(f"Example: drupelet-agent {name}")
        assert (parser.description or "").endswith(".")


def test_the_configuration_of_the_service_is_the_default() -> None:
    assert make_parser().parse_args(["list"]).config == Path("/etc/drupelet/agent.toml")


def test_an_error_is_one_line_with_its_code_and_an_exit_code(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--config", str(tmp_path / "missing.toml"), "list"]) == EXIT_FAILED
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith("error: configuration ")
    assert printed.err.endswith("[config_invalid]\n")


def exit_code(*words: str) -> object:
    with pytest.raises(SystemExit) as raised:
        main(list(words))
    return raised.value.code


def test_the_version_is_one_line_with_the_program_and_the_number(capsys: pytest.CaptureFixture[str]) -> None:
    assert exit_code("--version") == EXIT_OK
    assert capsys.readouterr().out == f"drupelet-agent {__version__}\n"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["lst"], "no such command 'lst'; did you mean 'list'?"),
        (["xyzzy"], "no such command 'xyzzy'; commands: run, install, list, "),
        (["push", "x.drupe"], "no such command 'push'; on the workstation: drupelet push"),
        (["list", "--jsn"], "no such option '--jsn'; did you mean '--json'?"),
        (["list", "--con", "x"], "no such option '--con'; did you mean '--config'?"),
        (["check"], "the following arguments are required: model"),
        (["completion", "tcsh"], "argument shell: 'tcsh' is none of bash, zsh, fish"),
        (["completion", "zhs"], "'zhs' is none of bash, zsh, fish; did you mean 'zsh'?"),
    ],
)
def test_wrong_usage_ends_with_a_line_that_says_what_was_meant(
    words: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert exit_code(*words) == EXIT_USAGE
    printed = capsys.readouterr()
    assert printed.out == ""
    lines = printed.err.splitlines()
    assert lines[0].startswith("usage: drupelet-agent ")
    assert lines[-1].startswith("error: ")
    assert message in lines[-1]
    assert lines[-1].endswith(" [wrong_usage]")


def test_without_a_command_the_help_text_goes_to_standard_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert exit_code() == EXIT_USAGE
    printed = capsys.readouterr()
    assert printed.out == ""
    assert "commands:" in printed.err
    for code, meaning in EXIT_CODES.items():
        assert f"  {code:<3}  {meaning}" in printed.err


@pytest.mark.parametrize("words", [["help", "check"], ["check", "--help"]])
def test_help_is_a_word_and_an_option(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert exit_code(*words) == EXIT_OK
    assert capsys.readouterr().out.startswith("usage: drupelet-agent check ")


@pytest.mark.parametrize("name", COMMANDS)
def test_no_line_of_a_help_text_is_wider_than_the_terminal(
    name: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    assert exit_code(name, "--help") == EXIT_OK
    lines = capsys.readouterr().out.splitlines()
    assert [line for line in lines if len(line) > 80 and not line.startswith("Example: ")] == []


@pytest.mark.parametrize("words", [["--config", "a.toml", "list"], ["list", "--config", "a.toml"]])
def test_the_configuration_is_named_before_or_after_the_command(words: list[str]) -> None:
    assert make_parser().parse_args(words).config == Path("a.toml")


@pytest.mark.parametrize(
    ("error", "status"), [(BusyError("busy"), EXIT_FAILED), (KeyboardInterrupt(), EXIT_INTERRUPTED), (None, EXIT_OK)]
)
def test_the_end_of_a_command_is_the_exit_code(
    monkeypatch: pytest.MonkeyPatch, error: BaseException | None, status: int
) -> None:
    def command(_: argparse.Namespace) -> int:
        if error is not None:
            raise error
        return EXIT_OK

    parser = argparse.ArgumentParser()
    add_command(parser.add_subparsers(), "act", command, summary="act", examples=("act",))
    monkeypatch.setattr("drupelet_agent.cli.parser.make_parser", lambda: parser)
    assert main(["act"]) == status


def test_a_command_is_described_with_its_summary_and_details() -> None:
    parser = add_command(
        argparse.ArgumentParser().add_subparsers(),
        "act",
        lambda _: 0,
        summary="act",
        details=", twice",
        examples=("act",),
    )
    assert (parser.description, parser.epilog) == ("act, twice.", "Example: drupelet-agent act")


def test_a_release_is_described_by_its_plan() -> None:
    activation = make_activation()
    assert describe_release(activation) == "digits 1.0.0 release 1: ort-fp32, 1 thread, p99 2.00 ms"
    several = activation.plan.model_copy(update={"instances": 2, "threads": 3})
    assert describe_release(activation.model_copy(update={"plan": several})) == (
        "digits 1.0.0 release 1: 2 instances of ort-fp32, 3 threads, p99 2.00 ms"
    )


def test_progress_goes_to_standard_error(capsys: pytest.CaptureFixture[str]) -> None:
    print_progress(Progress("verified", "digits"))
    assert capsys.readouterr() == ("", "verified: digits\n")


def test_the_configuration_sets_up_the_log(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write_agent_config(tmp_path, extra='log = { level = "debug" }')
    with restored_root_logger():
        config = load_config(argparse.Namespace(config=path))
    assert config.log.level == "debug"
    assert capsys.readouterr().out == ""


def test_the_agent_runs_until_it_is_asked_to_stop(tmp_path: Path) -> None:
    config = write_agent_config(tmp_path, extra=f"broker.port = {free_port()}")
    words = [sys.executable, "-m", "drupelet_agent", "--config", str(config), run.__name__.rpartition(".")[2]]
    with subprocess.Popen(words, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        lines = iter(process.stderr.readline, "")
        assert any("agent starts device=pi-test" in line for line in lines)
        process.send_signal(signal.SIGTERM)
        assert any("agent stops device=pi-test" in line for line in lines)
        assert process.wait(timeout=60) == EXIT_OK


@pytest.mark.parametrize("words", [("schema",), ("--help",), ("completion", "bash")], ids=" ".join)
def test_a_standard_output_that_is_full_or_closed_ends_without_a_traceback(words: tuple[str, ...]) -> None:
    command = [sys.executable, "-m", "drupelet_agent", *words]
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, check=False, timeout=60)
    assert (done.returncode, done.stderr) == (1, "error: standard output: No space left on device [output_failed]\n")
    closed = subprocess.run(
        ["sh", "-c", 'exec "$@" >&-', "sh", *command], stderr=subprocess.PIPE, text=True, check=False, timeout=60
    )
    assert (closed.returncode, closed.stderr) == (0, "")

from __future__ import annotations

import re
import sys
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from drupelet_host.cli import COMMANDS, cli, main
from drupelet_host.cli.help_text import examples_of
from drupelet_shared.exit_codes import EXIT_USAGE


def help_of(*words: str) -> str:
    result = CliRunner().invoke(cli, [*words, "--help"], terminal_width=80, prog_name="drupelet")
    assert result.exit_code == 0, result.output
    return result.output


def words_of(text: str) -> str:
    return " ".join(text.split())


def test_the_list_of_commands_has_each_summary_whole() -> None:
    listed = words_of(help_of())
    with click.Context(cli) as context:
        for name in COMMANDS:
            command = cli.get_command(context, name)
            assert command is not None
            summary = words_of((command.help or "").partition("\n\n")[0])
            assert f"{name} {summary.rstrip('.')}" in listed, name


@pytest.mark.parametrize("name", COMMANDS)
def test_no_line_of_a_help_text_is_wider_than_the_terminal(name: str) -> None:
    assert max(map(len, help_of(name).splitlines())) <= 80


@pytest.mark.parametrize(
    "name", ["push", "deploy", "status", "list", "activate", "rollback", "remove", "infer", "top", "watch", "profile"]
)
def test_the_options_of_the_broker_stand_in_a_group_behind_the_commands_own(name: str) -> None:
    own, _, group = help_of(name).partition("\nBroker options:\n")
    group, _, _ = group.partition("\nExamples:\n")
    for option in ("--broker", "--password-file", "--ca-file", "--cert-file", "--key-file", "--prefix"):
        assert f"  {option} " in group
        assert f"  {option} " not in own


@pytest.mark.parametrize("name", COMMANDS)
def test_the_examples_of_a_command_stand_last_and_can_be_copied(name: str) -> None:
    with click.Context(cli) as context:
        command = cli.get_command(context, name)
    assert command is not None
    _, _, examples = help_of(name).partition("\nExamples:\n")
    joined = examples.replace("\\\n", "")
    assert [" ".join(line.split()) for line in joined.splitlines()] == examples_of(command.help or "") != []


def test_a_value_has_a_name_that_says_what_it_is() -> None:
    for name in COMMANDS:
        assert not re.search(r"^  --.* (TEXT|FLOAT|INTEGER|PATH)\b", help_of(name), re.MULTILINE), name


def error_of(words: list[str], monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> str:
    """The last line on standard error of a command that is used wrongly."""
    monkeypatch.setattr(sys, "argv", ["drupelet", *words])
    with pytest.raises(SystemExit) as raised:
        main()
    assert raised.value.code == EXIT_USAGE
    printed = capfd.readouterr()
    assert printed.out == ""
    *usage, error = printed.err.splitlines()
    assert usage[0].startswith("usage: drupelet ")
    assert re.fullmatch(r"error: .* \[wrong_usage\]", error), error
    return error


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["stauts"], "no such command 'stauts'. Did you mean 'status'?"),
        (["roll-back"], "no such command 'roll-back'. Did you mean 'rollback'?"),
        (["doctor"], "no such command 'doctor'. On the device: drupelet-agent doctor"),
        (["keygen", "--jsn"], "no such option '--jsn'. Did you mean '--json'?"),
        (["check"], "missing argument 'RECIPE'"),
        (["schema", "recip"], "'recip' is not one of 'recipe', 'sweep', 'manifest', 'messages', 'config'"),
    ],
)
def test_wrong_usage_is_answered_with_what_was_meant(
    words: list[str], message: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    assert message in error_of(words, monkeypatch, capfd)


def test_a_file_that_is_not_there_is_answered_with_the_nearest_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "digits-1.0.0.drupe").touch()
    error = error_of(["inspect", str(tmp_path / "digits-1.0.drupe")], monkeypatch, capfd)
    assert f"does not exist. Did you mean '{tmp_path}/digits-1.0.0.drupe'?" in error
    assert "mean" not in error_of(["inspect", str(tmp_path / "xyzzy")], monkeypatch, capfd)


def test_a_command_like_no_other_is_just_unknown(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    assert error_of(["xyzzy"], monkeypatch, capfd) == "error: no such command 'xyzzy' [wrong_usage]"


def test_help_is_a_word_too() -> None:
    result = CliRunner().invoke(cli, ["help", "push"], terminal_width=80, prog_name="drupelet")
    assert result.output == help_of("push")

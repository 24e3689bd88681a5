from __future__ import annotations

import click
import pytest
from click.testing import CliRunner

from drupelet_host.cli import COMMANDS, cli


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
    for option in ("--broker", "--password-file", "--ca-file", "--cert-file", "--key-file", "--prefix"):
        assert f"  {option} " in group
        assert f"  {option} " not in own


@pytest.mark.parametrize(("typed", "meant"), [("stauts", "status"), ("roll-back", "rollback"), ("inferr", "infer")])
def test_an_unknown_command_is_answered_with_the_nearest_one(typed: str, meant: str) -> None:
    result = CliRunner().invoke(cli, [typed])
    assert result.exit_code == 2
    assert f"No such command '{typed}'. Did you mean '{meant}'?" in result.output


def test_a_command_like_no_other_is_just_unknown() -> None:
    result = CliRunner().invoke(cli, ["xyzzy"])
    assert result.exit_code == 2
    assert "No such command 'xyzzy'" in result.output
    assert "mean" not in result.output

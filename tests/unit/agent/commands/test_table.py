"""The table of commands fits to their functions and their messages."""

from __future__ import annotations

import inspect

import pytest

from drupelet_agent.commands import installing, measuring, profiling, releases
from drupelet_agent.commands.context import Context
from drupelet_agent.commands.table import COMMANDS
from drupelet_shared.contract.commands import EXCHANGES
from drupelet_shared.contract.references import load_reference

MODULES = (installing, measuring, profiling, releases)


def test_every_command_of_the_contract_is_in_the_table() -> None:
    assert set(COMMANDS) == set(EXCHANGES)


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_a_command_takes_its_request_and_returns_its_result(name: str) -> None:
    function = load_reference(COMMANDS[name].function)
    assert inspect.getmodule(function) in MODULES
    signature = inspect.signature(function, eval_str=True)
    request, context = (parameter.annotation for parameter in signature.parameters.values())
    assert (request, context) == (EXCHANGES[name].request, Context)
    assert signature.return_annotation is EXCHANGES[name].result


def test_commands_that_change_the_store_or_measure_what_it_holds_take_turns() -> None:
    lanes = {name: command.lane for name, command in COMMANDS.items() if command.lane != "store"}
    assert lanes == {"list": "none", "measure": "candidates"}

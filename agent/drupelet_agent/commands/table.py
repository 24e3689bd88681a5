"""The table of commands and their functions; their messages are in `drupelet_shared.contract.commands`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

Lane = Literal["store", "candidates", "none"]


@dataclass(frozen=True, slots=True)
class Command:
    """One command.

    Attributes:
        function: `module:function`, imported by the process that runs it: `(request, context) -> result`.
        lane: Commands of the lane "store", which change the store or measure what it holds, run one after the other.
            Those of the lane "candidates" do too, beside them and at the lowest priority. Others run at once.
    """

    function: str
    lane: Lane = "store"


# To add one: an entry here, its messages in `drupelet_shared.contract.commands.EXCHANGES`, and its example in the
# contract.
COMMANDS: Mapping[str, Command] = {
    "install": Command("drupelet_agent.commands.installing:install"),
    "activate": Command("drupelet_agent.commands.releases:activate"),
    "rollback": Command("drupelet_agent.commands.releases:roll_back"),
    "remove": Command("drupelet_agent.commands.releases:remove"),
    "list": Command("drupelet_agent.commands.releases:list_installed", lane="none"),
    "tune": Command("drupelet_agent.commands.installing:tune"),
    "profile": Command("drupelet_agent.commands.profiling:profile"),
    "measure": Command("drupelet_agent.commands.measuring:measure", lane="candidates"),
}

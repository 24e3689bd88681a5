"""The page of errors: each stable code, what it means and what to do."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from pathlib import Path

# Importing them is what makes their classes known.
import drupelet_agent.errors
import drupelet_host.errors
from docs_generator.markdown import code, page, table
from drupelet_shared.contract.schemas import describe
from drupelet_shared.errors import DrupeletError

_ADVICE = Path(__file__).with_name("error_advice.toml")
_GROUPS = {
    "drupelet_shared.errors": "Packages, engines and requests",
    drupelet_host.errors.__name__: "The compiler and the client",
    drupelet_agent.errors.__name__: "The agent",
}
_INTRO = """\
A command that is refused prints one line on standard error that ends with a code in brackets, and the agent answers a
request it refuses with the same codes. A message may change from version to version; a code does not. Wrong usage of
a command, such as an option that it does not have, ends with `[wrong_usage]` and exit code 2.
"""


def error_classes() -> list[type[DrupeletError]]:
    """Return every error, in the order of the code."""
    return list(dict.fromkeys(_below(DrupeletError)))


def read_advice() -> dict[str, str]:
    """Return what to do about each code."""
    return tomllib.loads(_ADVICE.read_text(encoding="utf-8"))


def errors_page() -> str:
    """Three tables, by where the errors are raised."""
    advice, parts = read_advice(), []
    for module, heading in _GROUPS.items():
        rows = [
            (code(error.code), describe(error).summary, advice.get(error.code, ""))
            for error in error_classes()
            if error.__module__ == module and error is not DrupeletError
        ]
        parts += [f"## {heading}\n", table(("code", "meaning", "what to do"), rows)]
    return page("# Errors\n", _INTRO, *parts)


def _below(error: type[DrupeletError]) -> Iterator[type[DrupeletError]]:
    yield error
    for subclass in error.__subclasses__():
        yield from _below(subclass)

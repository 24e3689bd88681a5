"""A program's man page (man(7)); one page has all of its commands."""

from __future__ import annotations

from collections.abc import Iterator

from docs_generator.commands import Argument, Command, Program
from drupelet_agent import __version__

_FILES = {
    "drupelet": {
        "$XDG_CONFIG_HOME/drupelet/config.toml": "Defaults of --broker, --device and the options beside them.",
        "$XDG_CACHE_HOME/drupelet/compile/": "Finished passes of compiles, kept for two weeks.",
    },
    "drupelet-agent": {
        "/etc/drupelet/agent.toml": "The configuration.",
        "/etc/drupelet/trust/": "The public keys of the makers whose packages are accepted.",
        "/var/lib/drupelet/": "Packages, and what was measured of them.",
    },
}


def man_page(program: Program) -> str:
    """Return the page, in the form that man(1) reads."""
    return "\n".join(_lines(program)) + "\n"


def _lines(program: Program) -> Iterator[str]:
    yield '.\\" Generated from the code by `make reference`: change the code.'
    yield f'.TH {program.name.upper()} 1 "" "drupelet {__version__}" "drupelet"'
    yield from (".SH NAME", _escape(f"{program.name} - {_first_sentence(program.itself.summary)}"))
    yield from (".SH SYNOPSIS", f".B {_escape(program.name)}", _escape(_after_name(program.itself)))
    yield ".SH DESCRIPTION"
    for paragraph in (program.itself.summary, *program.itself.paragraphs):
        yield from (".PP", _escape(paragraph))
    yield from _options(program.itself.options, heading=".SH OPTIONS")
    yield ".SH COMMANDS"
    for command in program.commands:
        yield f".SS {_escape(command.name)}"
        yield from (f".B {_escape(command.name)}", _escape(_after_name(command)))
        for paragraph in (command.summary, *command.paragraphs):
            yield from (".PP", _escape(paragraph))
        yield from _options((*(made for made in command.arguments if made.meaning), *command.options), heading=".PP")
        for example in command.examples:
            yield from (".PP", "Example:", ".PP", ".RS", _escape(example), ".RE")
    yield from _terms(".SH EXIT STATUS", {str(number): what for number, what in program.exit_codes.items()})
    variables = {made.variable: f"As {made.names[-1]}." for made in _all_options(program) if made.variable}
    if variables:
        yield from _terms(".SH ENVIRONMENT", variables)
    yield from _terms(".SH FILES", _FILES[program.name])


def _all_options(program: Program) -> Iterator[Argument]:
    for command in (program.itself, *program.commands):
        yield from command.options


def _options(arguments: tuple[Argument, ...], *, heading: str) -> Iterator[str]:
    yield from _terms(heading, {made.written: made.meaning for made in arguments})


def _terms(heading: str, terms: dict[str, str]) -> Iterator[str]:
    yield heading
    for term, meaning in terms.items():
        yield from (".TP", f".B {_escape(term)}", _escape(meaning))


def _after_name(command: Command) -> str:
    return command.usage.removeprefix(command.name).strip()


def _first_sentence(text: str) -> str:
    sentence = text.partition(". ")[0].rstrip(".")
    return sentence[:1].lower() + sentence[1:]


def _escape(text: str) -> str:
    escaped = text.replace("\\", r"\e").replace("-", r"\-")
    return f"\\&{escaped}" if escaped.startswith((".", "'")) else escaped

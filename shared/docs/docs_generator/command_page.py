"""A program's page in the reference."""

from __future__ import annotations

from docs_generator.commands import Argument, Command, Program
from docs_generator.markdown import code, page, sentence, table


def command_page(program: Program) -> str:
    """Return the program, its exit codes, then each command."""
    itself = program.itself
    listed = table(
        ("command", "what it does"),
        ((f"[{command.name}](#{command.name.replace(' ', '-')})", command.summary) for command in program.commands),
    )
    codes = table(("code", "meaning"), ((str(number), what) for number, what in program.exit_codes.items()))
    parts = [f"# {program.name}\n", *_text(itself), listed, "## Exit codes\n", codes]
    for command in program.commands:
        parts += [f"## {command.name}\n", *_text(command)]
    return page(*parts)


def _text(command: Command) -> list[str]:
    parts = [f"{paragraph}\n" for paragraph in (command.summary, *command.paragraphs)]
    parts.append(f"```text\n{command.usage}\n```\n")
    for heading, arguments in (("argument", command.arguments), ("option", command.options)):
        described = [argument for argument in arguments if heading == "option" or argument.meaning]
        if described:
            parts.append(table((heading, "meaning"), ((code(made.written), _meaning(made)) for made in described)))
    examples = "\n".join(command.examples)
    parts.append(f"For example:\n\n```text\n{examples}\n```\n")
    return parts


def _meaning(argument: Argument) -> str:
    meaning = sentence(argument.meaning)
    return f"{meaning} Environment: `{argument.variable}`." if argument.variable else meaning

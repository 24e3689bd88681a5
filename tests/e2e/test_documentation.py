"""Every command in the documentation does what the page says it does."""

from __future__ import annotations

import re
import subprocess
import tomllib
from pathlib import Path

import pytest

from docs_generator.commands import agent_program, host_program
from support.broker.brokers import find_mosquitto
from support.screen.console import follow, place_for, prepare
from support.screen.documentation import ROOT, Command, Page, find_pages

PAGES = find_pages()
PROGRAMS = {program.name: program for program in (host_program(), agent_program())}


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    "page",
    [page for page in PAGES if any(command.reason is None for command in page.commands)],
    ids=lambda page: page.name,
)
def test_every_command_of_a_page_does_what_the_page_says(page: Page, tmp_path: Path, cache: Path) -> None:
    if page.broker == "secured" and find_mosquitto() is None:
        pytest.skip("mosquitto is not installed: apt install mosquitto")
    prepare(page, tmp_path)
    with place_for(page, tmp_path) as place:
        for done in follow(page, tmp_path, place=place, cache=cache):
            assert done.faults == [], f"{page.name}:{done.command.line}: $ {done.command.text}\n{done.output}"


SKIPPED = [(page, command) for page in PAGES for command in page.commands if command.reason]


@pytest.mark.parametrize(
    ("page", "command"), SKIPPED, ids=[f"{page.path.stem}:{command.line}" for page, command in SKIPPED]
)
def test_a_command_that_cannot_run_here_names_what_there_is(page: Page, command: Command) -> None:
    subprocess.run(["bash", "-n", "-c", command.text], check=True)
    assert check_words(command.text.replace("\\\n", " ")) == [], page.name


def check_words(line: str) -> list[str]:
    """What a command names that is not there: files of the repository, options, targets, extras."""
    words = line.split("#", maxsplit=1)[0].split()
    missing = [word for word in words if re.match(r"(deploy|systemd|shared|host|agent)/", word) and not is_there(word)]
    program, *arguments = words[1:] if words[0] == "sudo" else words
    if program in PROGRAMS:
        missing += unknown_options(program, arguments)
    if words[0] == "make":
        targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
        missing += [word for word in words[1:] if word not in targets and "=" not in word]
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]
    missing += [
        extra
        for found in re.findall(r"(?:drupelet|'\.)\[([\w,-]+)\]", line)
        for extra in found.split(",")
        if extra not in extras
    ]
    if any(word.endswith("install.sh") for word in words):
        script = (ROOT / "deploy/install.sh").read_text(encoding="utf-8")
        missing += [word for word in words if word.startswith("--") and word not in script]
    return missing


def is_there(word: str) -> bool:
    return bool(list(ROOT.glob(word.rstrip("/"))))


def unknown_options(name: str, words: list[str]) -> list[str]:
    program = PROGRAMS[name]
    commands = {command.name.rpartition(" ")[2]: command for command in program.commands}
    used = [commands[word] for word in words if word in commands][:1]
    known = {option for command in (program.itself, *used) for made in command.options for option in made.names}
    if not used and not any(word in known for word in words):
        return [f"{name} has no such command: {words}"]
    return [word for word in words if word.startswith("--") and word.partition("=")[0] not in known]


def test_a_name_that_is_not_there_is_found() -> None:
    assert check_words("deploy/nothing x") == ["deploy/nothing"]
    assert check_words("sudo drupelet-agent --confg x.toml run") == ["--confg"]
    assert check_words("drupelet kompile recipe.toml") != []
    assert check_words("make dmeo") == ["dmeo"]
    assert check_words("pip install 'drupelet[hots]'") == ["hots"]
    assert check_words("pip install '.[host,dmeo]'") == ["dmeo"]
    assert check_words("sudo sh wheelhouse/install.sh --dry-rum") == ["--dry-rum"]

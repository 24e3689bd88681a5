"""Completion of both programs in the shells themselves: each reads the script as the help text says it is installed."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAMS = ("drupelet", "drupelet-agent")
CASES = [
    ("drupelet", "drupelet rollb", "rollback"),
    ("drupelet", "drupelet infer --pass", "--password-file"),
    ("drupelet", "drupelet completion fi", "fish"),
    ("drupelet-agent", "drupelet-agent ins", "install"),
    ("drupelet-agent", "drupelet-agent plan --js", "--json"),
    ("drupelet-agent", "drupelet-agent --config x completion fi", "fish"),
]
# Completes the line in an interactive shell, by a key that also prints the line as it is then.
ZSH = r"""
zmodload zsh/zpty
zpty shell zsh -f -i
zpty -w shell "fpath=($1 \$fpath); autoload -Uz compinit; compinit -u -D"
zpty -w shell "show() { zle complete-word; print -r \"LINE=[\$BUFFER]\" }"
zpty -w shell "zle -N show; bindkey '^T' show; print REA''DY"
zpty -r shell printed '*READY*'
zpty -w -n shell "$2"$'\x14'
zpty -r shell printed '*LINE=\[*\]*' && print -r -- "$printed"
"""


@pytest.fixture(scope="module")
def scripts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the script of each program for each shell, as the shell names it."""
    folder = tmp_path_factory.mktemp("completion")
    for program in PROGRAMS:
        for shell, name in (("bash", program), ("zsh", f"_{program}"), ("fish", f"{program}.fish")):
            (folder / name).write_text(run([str(binary(program)), "completion", shell]), encoding="utf-8")
    return folder


def binary(program: str) -> Path:
    return Path(sys.executable).with_name(program)


def run(command: list[str]) -> str:
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, "TERM": "xterm"}
    done = subprocess.run(command, capture_output=True, text=True, timeout=90, check=True, env=environment)
    return done.stdout


def needs(shell: str) -> pytest.MarkDecorator:
    return pytest.mark.skipif(shutil.which(shell) is None, reason=f"{shell} is not installed")


@needs("bash")
@pytest.mark.parametrize(("program", "line", "offered"), CASES)
def test_bash_completes_commands_options_and_choices(scripts: Path, program: str, line: str, offered: str) -> None:
    words = line.split()
    script = f"""
        source {scripts / program}
        COMP_WORDS=({line}) COMP_CWORD={len(words) - 1} COMP_LINE="{line}" COMP_POINT={len(line)}
        function_name=$(complete -p {program} | sed 's/.*-F \\([^ ]*\\).*/\\1/')
        $function_name {program} {words[-1]} {words[-2]}
        printf '%s\\n' "${{COMPREPLY[@]}}"
    """
    assert run(["bash", "-c", script]).split() == [offered]


@needs("fish")
@pytest.mark.parametrize(("program", "line", "offered"), CASES)
def test_fish_completes_commands_options_and_choices(scripts: Path, program: str, line: str, offered: str) -> None:
    printed = run(["fish", "--no-config", "-c", f"source {scripts / program}.fish; complete -C '{line}'"])
    assert [one.partition("\t")[0] for one in printed.splitlines()] == [offered]


@needs("fish")
def test_fish_shows_a_description_whole(scripts: Path) -> None:
    printed = run(["fish", "--no-config", "-c", f"source {scripts}/drupelet.fish; complete -C 'drupelet infer --tim'"])
    assert printed == "--timeout\tLongest wait for the broker and for the answer.\n"
    summary = run(["fish", "--no-config", "-c", f"source {scripts}/drupelet.fish; complete -C 'drupelet comp'"])
    assert "Prune, quantize" in summary


@needs("zsh")
@pytest.mark.parametrize(("program", "line", "offered"), CASES)
def test_zsh_completes_commands_options_and_choices(
    scripts: Path, tmp_path: Path, program: str, line: str, offered: str
) -> None:
    assert (scripts / f"_{program}").read_text(encoding="utf-8").startswith(f"#compdef {program}\n")
    (tmp_path / "tab.zsh").write_text(ZSH, encoding="utf-8")
    printed = run(["zsh", "-f", str(tmp_path / "tab.zsh"), str(scripts), line])
    assert f"LINE=[{line.rpartition(' ')[0]} {offered} ]" in printed

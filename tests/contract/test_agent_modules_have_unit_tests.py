"""Every module of the agent has a unit test: a test imports it, or a bench that the test uses."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

from support.source.tree import REPOSITORY

MAX_EXCEPTIONS = 10
EXCEPTIONS = {
    "drupelet_agent.__main__": "runs the command line; the unit test of the parser starts it as a program",
    "drupelet_agent.serving.clock": "reads the event loop's time; tests/contract/test_clocks.py has it beside the fake",
    "drupelet_agent.serving.workers.port": "holds only protocols",
    "drupelet_agent.serving.workers.worker_process": "tests/contract/test_workers.py has it beside the fake",
    "drupelet_agent.worker.__main__": "starts the worker; tests/contract/test_workers.py starts it as a program",
    "drupelet_agent.worker.landlock": "restricts the process that calls it for good: test_worker_sandbox.py attacks it",
    "drupelet_agent.worker.sandbox": "as above",
    "drupelet_agent.worker.seccomp": "as above",
}


def imported(tree: ast.AST) -> Iterator[str]:
    """Every module that a file may import, also in a script that it holds as text."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and "drupelet_agent" in node.value:
            try:
                script = ast.parse(node.value)
            except SyntaxError:
                continue
            yield from imported(script)


def read_imports(path: Path) -> set[str]:
    return set(imported(ast.parse(path.read_text(encoding="utf-8"))))


def module_name(path: Path, *, root: str) -> str:
    return ".".join(path.relative_to(REPOSITORY / root).with_suffix("").parts)


def modules_with_tests() -> set[str]:
    """What the unit tests of the agent import, with what the benches import that they use."""
    benches = {
        module_name(path, root="tests"): read_imports(path)
        for folder in ("support", "fakes")
        for path in (REPOSITORY / "tests" / folder).rglob("*.py")
    }
    modules = set[str]().union(*map(read_imports, (REPOSITORY / "tests/unit/agent").rglob("*.py")))
    used = list(modules & benches.keys())
    while used:
        new = benches[used.pop()] - modules
        modules |= new
        used += new & benches.keys()
    return modules


def agent_modules() -> set[str]:
    paths = (REPOSITORY / "agent/drupelet_agent").rglob("*.py")
    return {module_name(path, root="agent") for path in paths if path.name != "__init__.py"}


def test_every_module_of_the_agent_has_a_unit_test_or_a_reason() -> None:
    assert agent_modules() - modules_with_tests() - EXCEPTIONS.keys() == set()


def test_exceptions_are_few_and_each_is_one() -> None:
    assert len(EXCEPTIONS) <= MAX_EXCEPTIONS
    assert EXCEPTIONS.keys() <= agent_modules()
    assert EXCEPTIONS.keys() & modules_with_tests() == set()

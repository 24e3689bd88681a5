"""Checks that docstrings document parameters, results and errors, from the syntax tree of a module."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

# From this many parameters on, a reader can no longer guess each of them from the summary line.
MIN_DOCUMENTED_PARAMETERS = 3

_SECTION = re.compile(r"^(Args|Attributes|Returns|Yields|Raises):$", re.MULTILINE)
_ENTRY = re.compile(r"^ {4}(\*{0,2}[A-Za-z_][\w.]*)(?: \([^)]*\))?:", re.MULTILINE)
# A summary that states what is returned, or names the docstring that documents the method, needs no sections.
_RETURNING = re.compile(r"^(Return|Yield)s? ")
_REFERENCE = re.compile(r"\b(?:see|those of|as) `[\w.]+`")
_SELF_RAISED = {"AssertionError", "NotImplementedError", "StopIteration", "SystemExit", "KeyboardInterrupt"}

Function = ast.FunctionDef | ast.AsyncFunctionDef


def find_docstring_faults(path: Path) -> list[str]:
    """List what the docstrings of a module's public functions and classes leave out.

    Args:
        path: The Python file to read.

    Returns:
        One "line N: name: fault" per fault, in the order of the file.
    """
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return [f"line {line}: {fault}" for line, fault in _check_body(tree, prefix="")]


def _check_body(node: ast.Module | ast.ClassDef, *, prefix: str) -> Iterator[tuple[int, str]]:
    for child in node.body:
        if isinstance(child, ast.ClassDef) and not child.name.startswith("_"):
            yield from _check_class(child, prefix=prefix)
        elif isinstance(child, Function) and not child.name.startswith("_") and not _is_exempt(child):
            yield from _check_function(child, name=f"{prefix}{child.name}")


def _check_class(node: ast.ClassDef, *, prefix: str) -> Iterator[tuple[int, str]]:
    name = f"{prefix}{node.name}"
    yield from _check_constructor(node, name=name)
    yield from _check_body(node, prefix=f"{name}.")


def _check_constructor(node: ast.ClassDef, *, name: str) -> Iterator[tuple[int, str]]:
    documented = _documented_names(node, "Args") | _documented_names(node, "Attributes")
    constructor = next((child for child in node.body if isinstance(child, Function) and child.name == "__init__"), None)
    if constructor is not None:
        parameters = _parameters(constructor)
        missing = [
            parameter
            for parameter in parameters
            if parameter not in documented | _documented_names(constructor, "Args")
        ]
        if missing:
            yield node.lineno, f"{name}: constructor parameters without a description: {', '.join(missing)}"
    elif _has_generated_constructor(node):
        fields = _fields(node)
        missing = [field for field in fields if field not in documented]
        if len(fields) >= MIN_DOCUMENTED_PARAMETERS and missing:
            yield node.lineno, f"{name}: Attributes lacks {', '.join(missing)}"


def _check_function(node: Function, *, name: str) -> Iterator[tuple[int, str]]:
    docstring = ast.get_docstring(node) or ""
    sections = set(_SECTION.findall(docstring))
    parameters = _parameters(node)
    if len(parameters) >= MIN_DOCUMENTED_PARAMETERS and not _REFERENCE.search(docstring):
        missing = [parameter for parameter in parameters if parameter not in _documented_names(node, "Args")]
        if missing:
            yield node.lineno, f"{name}: Args lacks {', '.join(missing)}"
        if _returns_value(node) and not sections & {"Returns", "Yields"} and not _RETURNING.match(docstring):
            yield node.lineno, f"{name}: has no Returns"
    raised = _raised_errors(node) - _documented_names(node, "Raises")
    if raised and "Raises" not in sections:
        yield node.lineno, f"{name}: has no Raises for {', '.join(sorted(raised))}"


def _is_exempt(node: Function) -> bool:
    decorators = {ast.unparse(decorator).split("(")[0].split(".")[-1] for decorator in node.decorator_list}
    # A click command's docstring is its help text; an override inherits the docstring of what it overrides.
    return bool(decorators & {"overload", "override", "command", "field_validator", "model_validator"})


def _parameters(node: Function) -> list[str]:
    arguments = node.args
    names = [argument.arg for argument in (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs)]
    names += [argument.arg for argument in (arguments.vararg, arguments.kwarg) if argument is not None]
    return [name for name in names if name not in {"self", "cls"} and not name.startswith("_")]


def _documented_names(node: Function | ast.ClassDef, section: str) -> set[str]:
    docstring = ast.get_docstring(node) or ""
    parts = _SECTION.split(docstring)
    bodies = [body for title, body in zip(parts[1::2], parts[2::2], strict=True) if title == section]
    return {entry.strip("*").split(".")[-1] for body in bodies for entry in _ENTRY.findall(body)}


def _has_generated_constructor(node: ast.ClassDef) -> bool:
    decorators = {ast.unparse(decorator).split("(")[0].split(".")[-1] for decorator in node.decorator_list}
    bases = {ast.unparse(base).split(".")[-1] for base in node.bases}
    return "dataclass" in decorators or any(base in {"BaseModel", "NamedTuple"} for base in bases)


def _fields(node: ast.ClassDef) -> list[str]:
    return [
        child.target.id
        for child in node.body
        if isinstance(child, ast.AnnAssign)
        and isinstance(child.target, ast.Name)
        and not child.target.id.startswith("_")
        and "ClassVar" not in ast.unparse(child.annotation)
        and "init=False" not in ast.unparse(child.value or ast.Constant(None))
    ]


def _returns_value(node: Function) -> bool:
    return node.returns is not None and ast.unparse(node.returns) not in {"None", "NoReturn", "Never"}


def _raised_errors(node: Function) -> set[str]:
    raised = set()
    for child in _walk_own(node):
        if isinstance(child, ast.Raise) and isinstance(child.exc, ast.Call):
            raised.add(ast.unparse(child.exc.func).split(".")[-1])
    return {name for name in raised if name[:1].isupper()} - _SELF_RAISED


def _walk_own(node: ast.AST) -> Iterator[ast.AST]:
    """Walk a function's own statements, and not those of functions and classes inside it."""
    # What a function raises to itself does not reach its caller.
    is_guarded = isinstance(node, ast.Try) and bool(node.handlers)
    children = [*node.handlers, *node.orelse, *node.finalbody] if is_guarded else ast.iter_child_nodes(node)
    for child in children:
        if not isinstance(child, Function | ast.ClassDef | ast.Lambda):
            yield child
            yield from _walk_own(child)

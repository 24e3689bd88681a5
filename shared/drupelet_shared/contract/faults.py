"""The faults of a document: where, the value, and what is allowed there."""

from __future__ import annotations

import typing
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from drupelet_shared.names import NAME_FORM, NAME_PATTERN, SHA256_PATTERN

_MAX_VALUE_LENGTH = 60
# For what pydantic describes by the names of Python's types or of our classes.
_EXPECTED = {
    "path_type": "a path, as text",
    "dict_type": "a table",
    "model_type": "a table",
    "model_attributes_type": "a table",
    "tuple_type": "a list",
    "list_type": "a list",
    "set_type": "a list",
    "frozen_set_type": "a list",
    "string_type": "text",
}


def describe_faults(error: ValidationError) -> str:
    """Return all faults of a validation in one line: "where: what; where: what"."""
    return "; ".join(
        f"{'.'.join(map(str, fault['loc'])) or 'document'}: {_message(fault)}"
        for fault in error.errors(include_url=False, include_input=False)
    )


def list_faults(
    error: ValidationError, *, document: Mapping[str, Any], model: type[BaseModel], root: str = "document"
) -> list[str]:
    """Return one line for each fault, in the order of the document, with the nearest name for an unknown key.

    Args:
        error: The faults that pydantic reports.
        document: The document that was validated.
        model: The class it was validated against, for the names of its keys.
        root: The name of the document as a whole, for faults of no single key.

    Returns:
        Lines such as `limits.queues: unknown key; did you mean 'queue_length'?`.
    """
    return [_describe(fault, document, model, root) for fault in error.errors(include_url=False)]


def _describe(fault: ErrorDetails, document: Mapping[str, Any], model: type[BaseModel], root: str) -> str:
    path = _path_in_document(fault["loc"], document)
    where = ".".join(map(str, path)) or root
    if fault["type"] == "missing":
        return f"{where}: is required"
    if fault["type"] == "extra_forbidden":
        return f"{where}: unknown key{_suggestion(path, model)}"
    message = _message(fault)
    return f"{where}{_shown_value(path, document)}: {message[:1].lower()}{message[1:]}"


def _message(fault: ErrorDetails) -> str:
    """Return what is wrong, in words where pydantic has an expression or its own terms."""
    context = fault.get("ctx", {})
    if fault["type"] == "string_pattern_mismatch" and context.get("pattern") == NAME_PATTERN:
        return f"expected {NAME_FORM}"
    if fault["type"] == "string_pattern_mismatch" and context.get("pattern") == SHA256_PATTERN:
        return "expected a SHA-256 of 64 lower-case hexadecimal digits"
    if fault["type"] == "too_short":
        return f"expected at least {context['min_length']}, got {context['actual_length']}"
    if fault["type"] in _EXPECTED:
        return f"expected {_EXPECTED[fault['type']]}"
    return fault["msg"].removeprefix("Value error, ")


def _path_in_document(location: Sequence[int | str], document: Mapping[str, Any]) -> list[int | str]:
    """Return the location without what pydantic adds: tags of unions, and keys below what is no table."""
    path: list[int | str] = []
    node: Any = document
    for position, part in enumerate(location):
        if _has(node, part):
            node = node[part]
        elif not isinstance(node, Mapping) or position < len(location) - 1:
            continue
        path.append(part)
    return path


def _has(node: object, part: int | str) -> bool:
    if isinstance(node, Mapping):
        return part in node
    return isinstance(node, list) and isinstance(part, int) and part < len(node)


def _shown_value(path: Sequence[int | str], document: Mapping[str, Any]) -> str:
    node: Any = document
    for part in path:
        if not _has(node, part):
            return ""
        node = node[part]
    if not path or isinstance(node, Mapping):
        return ""
    text = repr(node)
    return f" = {text if len(text) <= _MAX_VALUE_LENGTH else text[:_MAX_VALUE_LENGTH] + '...'}"


def _suggestion(path: Sequence[int | str], model: type[BaseModel]) -> str:
    import difflib  # noqa: PLC0415 - the running agent does without

    known = _keys(path[:-1], model)
    close = difflib.get_close_matches(str(path[-1]), known, n=1)
    allowed = f"; allowed are {', '.join(known)}" if known else ""
    return f"; did you mean {close[0]!r}?" if close else allowed


def _keys(path: Sequence[int | str], model: type[BaseModel]) -> list[str]:
    parts = iter(path)
    for part in parts:
        field = model.model_fields.get(str(part))
        sections = _sections(field.annotation) if field else []
        if field is None or len(sections) != 1:
            return []
        model = sections[0]
        if typing.get_origin(field.annotation) is dict:
            # The keys of a table of sections are free: the next part of the path is one of them.
            next(parts, None)
    return list(model.model_fields)


def _sections(annotation: object) -> list[type[BaseModel]]:
    """Return the pydantic classes in an annotation such as `Section | None`."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [section for argument in typing.get_args(annotation) for section in _sections(argument)]

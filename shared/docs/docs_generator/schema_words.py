"""What a JSON Schema allows, in words."""

from __future__ import annotations

from typing import Any

from docs_generator.markdown import code
from drupelet_shared.names import NAME_PATTERN

Schema = dict[str, Any]
_REFERENCE = "#/$defs/"
_KNOWN = {
    NAME_PATTERN: "a name",
    "^[0-9a-f]{64}$": "a SHA-256, hexadecimal",
    "path": "a path",
    "date-time": "a time (RFC 3339)",
}
_LIMITS = {"minimum": ">=", "exclusiveMinimum": ">", "maximum": "<=", "exclusiveMaximum": "<"}
_PLAIN = {"boolean": "`true` or `false`"}
_PLURAL = {"text": "texts", "integer": "integers", "number": "numbers", "a name": "names", "a path": "paths"}


def words_for(schema: Schema, *, definitions: dict[str, Schema] | None) -> str:
    """Return one phrase for what is allowed.

    Args:
        schema: A part of a schema.
        definitions: The document's, for kinds of objects that have no heading of their own; None links to headings.
    """
    if "$ref" in schema:
        return _reference(schema["$ref"].removeprefix(_REFERENCE), definitions)
    if "const" in schema or "enum" in schema:
        return ", ".join(code(_literal(value)) for value in schema.get("enum") or [schema["const"]])
    if schema.get("examples") == ["512MB"]:
        return 'bytes, or a size such as `"512MB"`'
    if choices := schema.get("anyOf") or schema.get("oneOf"):
        return " or ".join(dict.fromkeys(words_for(part, definitions=definitions) for part in choices))
    kind = schema.get("type", "any value")
    own = {"array": _list_words, "object": _table_words, "string": _text_words}
    return (
        own[kind](schema, definitions=definitions)
        if kind in own
        else f"{_PLAIN.get(kind, kind)} {_limits(schema)}".strip()
    )


def _reference(name: str, definitions: dict[str, Schema] | None) -> str:
    if name == "JsonValue":
        return "any JSON value"
    if definitions is None:
        return f"[{name}](#{name.lower()})"
    return f"a table of {' and '.join(map(code, definitions[name]['properties']))}"


def _literal(value: object) -> str:
    return f'"{value}"' if isinstance(value, str) else str(value)


def _limits(schema: Schema) -> str:
    low = next((f"{sign} {schema[key]}" for key, sign in _LIMITS.items() if key in schema and ">" in sign), "")
    high = next((f"{sign} {schema[key]}" for key, sign in _LIMITS.items() if key in schema and "<" in sign), "")
    return " and ".join(filter(None, (low, high)))


def _list_words(schema: Schema, *, definitions: dict[str, Schema] | None) -> str:
    item = words_for(schema["items"], definitions=definitions)
    what = _plural(item)
    counts = {"minItems": "at least {}", "maxItems": "at most {}"}
    bounds = [text.format(schema[key]) for key, text in counts.items() if key in schema]
    return f"list of {what}" + (f", {', '.join(bounds)}" if bounds else "")


def _plural(item: str) -> str:
    first, _, rest = item.partition(" ")
    return _PLURAL.get(item) or (f"{_PLURAL[first]} {rest}" if first in _PLURAL else item)


def _table_words(schema: Schema, *, definitions: dict[str, Schema] | None) -> str:
    below = schema.get("additionalProperties")
    return (
        f"table of {_plural(words_for(below, definitions=definitions))}"
        if isinstance(below, dict) and below
        else "object"
    )


def _text_words(schema: Schema, *, definitions: dict[str, Schema] | None) -> str:  # noqa: ARG001 - as its siblings
    if known := _KNOWN.get(schema.get("pattern") or schema.get("format") or ""):
        return known
    if "examples" in schema:
        return "text such as " + ", ".join(code(_literal(example)) for example in schema["examples"])
    if "maxLength" in schema:
        return f"text of at most {schema['maxLength']} characters"
    return f"text: {code(schema['pattern'])}" if "pattern" in schema else "text"

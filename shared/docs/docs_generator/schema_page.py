"""The pages of documents that have a JSON Schema: a table of keys for each section."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from docs_generator.markdown import code, page, sentence, table
from docs_generator.schema_words import words_for
from drupelet_shared.units import format_bytes

Schema = dict[str, Any]
_REFERENCE = "#/$defs/"


def toml_page(schema: Schema, *, title: str, file: str, command: str) -> str:
    """Return a TOML document: the keys of the top level, then each section under its path."""
    intro = (
        f"{schema['description']} The same as a JSON Schema: [{file}.schema.json](../schemas/{file}.schema.json), or "
        f"`{_schema_command(command, file)}`. A key without a default is left out where it is not needed.\n"
    )
    definitions = schema.get("$defs", {})
    sections = list(_sections(schema, definitions, path=""))
    parts = [f"# {title}\n", intro]
    for path, section in sections:
        keys = {name: value for name, value in section["properties"].items() if _section(value) is None}
        if path:
            parts += [
                f"## `[{path}]`\n",
                f"{sentence(section['description'].partition(']: ')[2] or section['description'])}\n",
            ]
        if keys:
            parts.append(_keys(keys, required=section.get("required", ()), definitions=definitions))
    return page(*parts)


def json_page(schema: Schema, *, title: str) -> str:
    """Return a JSON document: its keys, then those of each kind of object in it."""
    intro = (
        f"{schema['description']} The normative description is [the package format](../package-format.md); the same as "
        "a JSON Schema: [manifest.schema.json](../schemas/manifest.schema.json), or `drupelet schema manifest`.\n"
    )
    definitions = [object_part(name, value) for name, value in schema["$defs"].items() if value]
    return page(
        f"# {title}\n", intro, _keys(schema["properties"], required=schema["required"], definitions=None), *definitions
    )


def object_part(name: str, schema: Schema) -> str:
    """Return one kind of object or of value under a heading."""
    heading = f"## {name}\n\n{schema['description']}\n"
    if "enum" in schema:
        return f"{heading}\nOne of {', '.join(code(value) for value in schema['enum'])}.\n"
    return f"{heading}\n{_keys(schema['properties'], required=schema.get('required', ()), definitions=None)}"


def _schema_command(command: str, file: str) -> str:
    return "drupelet-agent schema" if command == "drupelet-agent" else f"drupelet schema {file}"


def _sections(schema: Schema, definitions: dict[str, Schema], *, path: str) -> Iterator[tuple[str, Schema]]:
    yield path, schema
    for name, value in schema["properties"].items():
        section = _section(value)
        if section is not None:
            level, reference = section
            below = f"{path}.{name}".strip(".") + level
            yield from _sections(definitions[reference], definitions, path=below)


def _section(value: Schema) -> tuple[str, str] | None:
    """Return the definition of a table, with the level that a table of tables adds; None if the value is no table."""
    if "$ref" in value:
        return "", value["$ref"].removeprefix(_REFERENCE)
    below = value.get("additionalProperties") or next(iter(value.get("patternProperties", {}).values()), None)
    if isinstance(below, dict) and "$ref" in below:
        return ".NAME", below["$ref"].removeprefix(_REFERENCE)
    return None


def _keys(properties: dict[str, Schema], *, required: Any, definitions: dict[str, Schema] | None) -> str:  # noqa: ANN401 - a list of JSON
    rows = [
        (
            code(name),
            words_for(value, definitions=definitions),
            _default(name, value, required),
            value.get("description", ""),
        )
        for name, value in properties.items()
    ]
    return table(("key", "value", "default", "meaning"), rows)


def _default(name: str, value: Schema, required: Any) -> str:  # noqa: ANN401 - as above
    if name in required:
        return "required"
    default = value.get("default")
    if default is None or default in ([], {}):
        return ""
    if "anyOf" in value and isinstance(default, int) and not isinstance(default, bool):
        return code(_size(default))
    return code(json.dumps(default))


def _size(count: int) -> str:
    return f"{count // 2**20}MiB" if count % 2**20 == 0 else format_bytes(count).replace(" ", "")

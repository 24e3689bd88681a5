"""JSON Schemas of what people and programs write for us or read from us: documents, with each key's meaning in them."""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from types import ModuleType, NoneType
from typing import Any

from pydantic import BaseModel, GetJsonSchemaHandler
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue, models_json_schema
from pydantic_core import CoreSchema, core_schema

# The newest draft; editors that know only draft 7 read what is used of it here in the same way.
DIALECT = "https://json-schema.org/draft/2020-12/schema"
_ATTRIBUTES = "Attributes:"
_ATTRIBUTE = re.compile(r"^    (\w+): (.*)$")


@dataclass(frozen=True, slots=True)
class Described:
    """A docstring, taken apart: what the class is, and what each attribute means."""

    summary: str
    attributes: Mapping[str, str]


def describe(model: type) -> Described:
    """Read a docstring in Google style."""
    text, _, listed = (inspect.getdoc(model) or "").partition(_ATTRIBUTES)
    attributes: dict[str, str] = {}
    name = ""
    for line in listed.splitlines():
        if match := _ATTRIBUTE.match(line):
            name, attributes[match[1]] = match[1], match[2]
        elif name and line.strip():
            attributes[name] += f" {line.strip()}"
    return Described(" ".join(text.split()), attributes)


@dataclass(frozen=True, slots=True)
class FilledIn:
    """Annotates a table in which a reader fills in a key: the person may leave it out."""

    key: str
    default: Any

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        made = handler(schema)
        self.apply(handler.resolve_ref_schema(made))
        return made

    def apply(self, schema: JsonSchemaValue) -> None:
        """Make the key optional."""
        schema["required"] = [name for name in schema["required"] if name != self.key]
        schema["properties"][self.key]["default"] = self.default


class _Generator(GenerateJsonSchema):
    """Takes the keys' meanings from the docstrings, and leaves out titles that only repeat the keys."""

    def model_schema(self, schema: core_schema.ModelSchema) -> JsonSchemaValue:
        made = super().model_schema(schema)
        described = describe(schema["cls"])
        made["description"] = described.summary
        for name, value in made.get("properties", {}).items():
            value.pop("title", None)
            if meaning := described.attributes.get(name):
                value["description"] = meaning
        return made


class _TomlGenerator(_Generator):
    """For TOML, which has no null: a key without a value is left out."""

    def nullable_schema(self, schema: core_schema.NullableSchema) -> JsonSchemaValue:
        return self.generate_inner(schema["schema"])

    def default_schema(self, schema: core_schema.WithDefaultSchema) -> JsonSchemaValue:
        made = super().default_schema(schema)
        # A table's own keys say their defaults.
        if isinstance(made.get("default", ""), dict | NoneType):
            del made["default"]
        return made


def toml_schema(model: type[BaseModel], *, title: str) -> dict[str, Any]:
    """Return the schema of a TOML document that `model` validates."""
    return _finished(model.model_json_schema(schema_generator=_TomlGenerator), title=title)


def json_schema(model: type[BaseModel], *, title: str) -> dict[str, Any]:
    """Return the schema of a JSON document that `model` validates."""
    return _finished(model.model_json_schema(schema_generator=_Generator), title=title)


def json_schemas(models: Mapping[str, type[BaseModel]], *, title: str) -> dict[str, Any]:
    """Return one document with the schemas of several models under `$defs`; it accepts what any of them accepts."""
    _, made = models_json_schema(
        [(model, "validation") for model in models.values()], title=title, schema_generator=_Generator
    )
    made["anyOf"] = [{"$ref": f"#/$defs/{name}"} for name in models]
    return _finished(made, title=title)


def models_of(*modules: ModuleType) -> dict[str, type[BaseModel]]:
    """Return the public models that modules define, by name and in the order of the code."""
    return {
        name: member
        for module in modules
        for name, member in vars(module).items()
        if isinstance(member, type)
        and issubclass(member, BaseModel)
        and member.__module__ == module.__name__
        and not name.startswith("_")
    }


def schema_text(schema: Mapping[str, Any]) -> str:
    """Return a schema as it is published: the keys in the order of the code."""
    return json.dumps(schema, indent=2, ensure_ascii=False) + "\n"


def _finished(schema: dict[str, Any], *, title: str) -> dict[str, Any]:
    return {"$schema": DIALECT, **schema, "title": title}

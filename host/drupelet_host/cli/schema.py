"""`drupelet schema`: the JSON Schemas that editors and other programs use."""

from __future__ import annotations

from typing import Any

import click

# The agent's own configuration: `drupelet-agent schema`.
SCHEMAS = ("recipe", "manifest", "messages", "config")


@click.command()
@click.argument("document", type=click.Choice(SCHEMAS))
def schema(*, document: str) -> None:
    """Print the JSON Schema of DOCUMENT on standard output.

    An editor that knows TOML (taplo, "Even Better TOML") completes and checks a recipe that begins with the line
    `#:schema recipe.schema.json`.

    Example: drupelet schema recipe > recipe.schema.json
    """
    from drupelet_shared.contract.schemas import schema_text  # noqa: PLC0415 - as below

    click.echo(schema_text(make_schema(document)), nl=False)


def make_schema(document: str) -> dict[str, Any]:
    """The schema of one of `SCHEMAS`."""
    # pydantic's classes are loaded when the command runs: `drupelet --help` does without.
    from drupelet_host.cli.settings import Settings  # noqa: PLC0415
    from drupelet_host.recipe.schema import Recipe  # noqa: PLC0415
    from drupelet_shared.contract import commands, delivery, messages  # noqa: PLC0415
    from drupelet_shared.contract.schemas import json_schema, json_schemas, models_of, toml_schema  # noqa: PLC0415
    from drupelet_shared.package.manifest import Manifest  # noqa: PLC0415

    match document:
        case "recipe":
            return toml_schema(Recipe, title="drupelet recipe")
        case "manifest":
            return json_schema(Manifest, title="drupelet package manifest")
        case "messages":
            return json_schemas(models_of(messages, commands, delivery), title="drupelet messages over MQTT")
        case _:
            return toml_schema(Settings, title="drupelet settings")

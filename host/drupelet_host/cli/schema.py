"""`drupelet schema`: JSON Schemas for editors and other programs."""

from __future__ import annotations

from typing import Any

import click

from drupelet_host.cli.command_group import GroupedCommand

# `drupelet-agent schema` prints that of the agent's configuration.
SCHEMAS = ("recipe", "sweep", "manifest", "messages", "config")


@click.command(cls=GroupedCommand)
@click.argument("document", type=click.Choice(SCHEMAS))
def schema(*, document: str) -> None:
    """Print the JSON Schema of DOCUMENT on standard output.

    Editors with TOML support (taplo, "Even Better TOML") complete and check a recipe whose first line is
    `#:schema recipe.schema.json`.

    Example: drupelet schema recipe > recipe.schema.json
    """
    from drupelet_shared.contract.schemas import schema_text  # noqa: PLC0415 - as below

    click.echo(schema_text(make_schema(document)), nl=False)


def make_schema(document: str) -> dict[str, Any]:
    """Return the schema of one of `SCHEMAS`."""
    # Imported here because they import pydantic, which `drupelet --help` does without.
    from drupelet_host.cli.settings import Settings  # noqa: PLC0415
    from drupelet_host.recipe.schema import Recipe  # noqa: PLC0415
    from drupelet_host.sweep.document import Sweep  # noqa: PLC0415
    from drupelet_shared.contract import commands, delivery, measuring, messages, rollouts  # noqa: PLC0415
    from drupelet_shared.contract.schemas import json_schema, json_schemas, models_of, toml_schema  # noqa: PLC0415
    from drupelet_shared.package.manifest import Manifest  # noqa: PLC0415

    match document:
        case "recipe":
            return toml_schema(Recipe, title="drupelet recipe")
        case "sweep":
            return toml_schema(Sweep, title="drupelet sweep")
        case "manifest":
            return json_schema(Manifest, title="drupelet package manifest")
        case "messages":
            modules = (messages, commands, measuring, delivery, rollouts)
            return json_schemas(models_of(*modules), title="drupelet messages over MQTT")
        case _:
            return toml_schema(Settings, title="drupelet settings")

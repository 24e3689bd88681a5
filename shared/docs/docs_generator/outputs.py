"""What is generated: each file's path, and its text."""

from __future__ import annotations

from pathlib import Path

from docs_generator.command_page import command_page
from docs_generator.commands import agent_program, host_program
from docs_generator.errors_page import errors_page
from docs_generator.man_page import man_page
from docs_generator.messages_page import messages_page
from docs_generator.schema_page import json_page, toml_page
from drupelet_agent.cli.schema import config_schema
from drupelet_host.cli.schema import SCHEMAS, make_schema
from drupelet_shared.contract.schemas import schema_text

ROOT = Path(__file__).resolve().parents[3]
DOCS = ROOT / "shared/docs"


def make_outputs() -> dict[Path, str]:
    """Return every generated file."""
    schemas = {**{name: make_schema(name) for name in SCHEMAS}, "agent": config_schema()}
    programs = (host_program(), agent_program())
    return {
        **{DOCS / f"schemas/{name}.schema.json": schema_text(schema) for name, schema in schemas.items()},
        DOCS / "reference/recipe.md": toml_page(schemas["recipe"], title="Recipe", file="recipe", command="drupelet"),
        DOCS / "reference/sweep.md": toml_page(schemas["sweep"], title="Sweep", file="sweep", command="drupelet"),
        DOCS / "reference/configuration.md": toml_page(
            schemas["agent"], title="Agent configuration", file="agent", command="drupelet-agent"
        ),
        DOCS / "reference/settings.md": toml_page(
            schemas["config"], title="Client settings", file="config", command="drupelet"
        ),
        DOCS / "reference/manifest.md": json_page(schemas["manifest"], title="Manifest"),
        DOCS / "reference/messages.md": messages_page(schemas["messages"]),
        DOCS / "reference/errors.md": errors_page(),
        **{DOCS / f"reference/{program.name}.md": command_page(program) for program in programs},
        **{DOCS / f"man/{program.name}.1": man_page(program) for program in programs},
    }

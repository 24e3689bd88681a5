"""Reads the agent's configuration: one TOML file, validated whole, with paths resolved."""

from __future__ import annotations

import json
from pathlib import Path

from pydantic import ValidationError

from drupelet_agent.config.agent import AgentConfig
from drupelet_agent.config.environment import resolve_path
from drupelet_agent.errors import ConfigError
from drupelet_shared.contract.faults import list_faults
from drupelet_shared.toml_files import read_toml


def load_config(path: Path) -> AgentConfig:
    """Read and validate a configuration file.

    Relative paths in it are relative to the file; `$CREDENTIALS_DIRECTORY/name` is a systemd credential.

    Raises:
        ConfigError: The file cannot be read, is not TOML, or has faults; all of them are named.
    """
    try:
        document = read_toml(path)
    except FileNotFoundError as error:
        raise ConfigError(
            f"configuration {path}: no such file. Name another with --config FILE, or write one: it needs device and "
            "[broker] (`drupelet-agent schema` describes every key)"
        ) from error
    except OSError as error:
        raise ConfigError(f"configuration {path}: {error.strerror}") from error
    except ValueError as error:
        raise ConfigError(f"configuration {path}: {error}") from error
    try:
        # Strict, so that `true` is no number; from JSON, so that a text is still a path and an array a tuple.
        config = AgentConfig.model_validate_json(json.dumps(document, default=str), strict=True)
    except ValidationError as error:
        lines = list_faults(error, document=document, model=AgentConfig, root="configuration")
        faults = "".join(f"\n  {line}" for line in lines)
        raise ConfigError(f"configuration {path}:{faults}") from error
    return _resolve_paths(config, path.resolve().parent)


def _resolve_paths(config: AgentConfig, folder: Path) -> AgentConfig:
    broker, trust = config.broker, config.trust
    tls = broker.tls
    if tls is not None:
        files = {key: resolve_path(value, base=folder) for key, value in tls if value is not None}
        tls = tls.model_copy(update=files)
    ca_file = config.delivery.ca_file and resolve_path(config.delivery.ca_file, base=folder)
    password_file = broker.password_file and resolve_path(broker.password_file, base=folder)
    return config.model_copy(
        update={
            "state_dir": folder / config.state_dir,
            "delivery": config.delivery.model_copy(update={"ca_file": ca_file}),
            "trust": trust.model_copy(update={"folder": folder / trust.folder}),
            "broker": broker.model_copy(update={"tls": tls, "password_file": password_file}),
        }
    )

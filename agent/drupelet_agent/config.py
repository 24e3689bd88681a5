"""The agent's configuration: one TOML file, parsed once, validated whole."""

from __future__ import annotations

import socket
import tomllib
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from drupelet_agent.errors import ConfigError
from drupelet_shared.names import NAME_PATTERN, Name
from drupelet_shared.topics import DEFAULT_PREFIX
from drupelet_shared.units import ByteSize

DEFAULT_CONFIG_PATH = Path("/etc/drupelet/agent.toml")


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class TlsConfig(_Section):
    """TLS to the broker; with `cert_file` and `key_file` the agent presents a client certificate."""

    ca_file: Path | None = None
    cert_file: Path | None = None
    key_file: Path | None = None

    @model_validator(mode="after")
    def _pair(self) -> Self:
        if (self.cert_file is None) != (self.key_file is None):
            raise ValueError("cert_file and key_file go together: one of them is missing")
        return self


class BrokerConfig(_Section):
    """Where the broker is and how the session behaves."""

    host: Annotated[str, Field(min_length=1)] = "localhost"
    port: Annotated[int, Field(ge=1, le=65535)] = 1883
    username: str | None = None
    password_file: Path | None = None
    tls: TlsConfig | None = None
    prefix: Annotated[str, Field(pattern=r"^[^+#$/][^+#]*[^+#/]$")] = DEFAULT_PREFIX
    keepalive_s: Annotated[int, Field(ge=5, le=3600)] = 30
    # How long the broker keeps requests for an agent that is away.
    session_expiry_s: Annotated[int, Field(ge=0, le=86_400)] = 300
    will_delay_s: Annotated[int, Field(ge=0, le=3600)] = 0


class TrustConfig(_Section):
    """Whose packages are accepted."""

    folder: Path = Path("/etc/drupelet/trust")
    allow_unsigned: bool = False


class LimitsConfig(_Section):
    """Budgets. `memory` is for all workers together: bytes, or `memory_share` of what the machine has."""

    memory: ByteSize | None = None
    memory_share: Annotated[float, Field(gt=0, le=1)] = 0.75
    cpu_cores: Annotated[int, Field(ge=1)] | None = None
    queue_length: Annotated[int, Field(ge=1, le=10_000)] = 64
    max_payload: ByteSize = 16 * 2**20
    inference_timeout_s: Annotated[float, Field(gt=0)] = 30.0


class TuningConfig(_Section):
    """How variants are measured at activation."""

    objective: Literal["latency"] = "latency"
    threads: tuple[Annotated[int, Field(ge=1)], ...] | None = None
    warmup: Annotated[int, Field(ge=0)] = 5
    runs: Annotated[int, Field(ge=1)] = 100
    max_seconds: Annotated[float, Field(gt=0)] = 3.0


class TelemetryConfig(_Section):
    """How often numbers are published."""

    interval_s: Annotated[float, Field(ge=0.1)] = 10.0
    outbox_length: Annotated[int, Field(ge=1)] = 256


class AgentConfig(_Section):
    """The whole file."""

    device: Name = Field(default_factory=socket.gethostname, pattern=NAME_PATTERN, validate_default=True)
    state_dir: Path = Path("/var/lib/drupelet")
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    # Describe the device and its sensors to Home Assistant's MQTT discovery.
    home_assistant: bool = False
    broker: BrokerConfig = BrokerConfig()
    trust: TrustConfig = TrustConfig()
    limits: LimitsConfig = LimitsConfig()
    tuning: TuningConfig = TuningConfig()
    telemetry: TelemetryConfig = TelemetryConfig()


def load_config(path: Path) -> AgentConfig:
    """Read and validate a configuration file; relative paths in it are relative to the file.

    Raises:
        ConfigError: The file cannot be read, is not TOML, or has faults; all of them are named.
    """
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigError(f"configuration {path}: {error}") from error
    try:
        config = AgentConfig.model_validate(document)
    except ValidationError as error:
        raise ConfigError(f"configuration {path}:\n{_list_faults(error)}") from error
    return _resolve_paths(config, path.resolve().parent)


def _list_faults(error: ValidationError) -> str:
    lines = []
    for fault in error.errors(include_url=False):
        key = ".".join(map(str, fault["loc"])) or "document"
        if fault["type"] == "extra_forbidden":
            lines.append(f"  {key}: unknown key; allowed here: {', '.join(_keys_beside(fault['loc']))}")
        else:
            lines.append(f"  {key} = {fault['input']!r}: {fault['msg']}")
    return "\n".join(lines)


def _keys_beside(location: tuple[int | str, ...]) -> list[str]:
    section: type[BaseModel] = AgentConfig
    for key in location[:-1]:
        annotation = section.model_fields[str(key)].annotation
        # `TlsConfig | None` is the one optional section.
        section = annotation if isinstance(annotation, type) else TlsConfig
    return sorted(section.model_fields)


def _resolve_paths(config: AgentConfig, folder: Path) -> AgentConfig:
    broker, trust = config.broker, config.trust
    tls = broker.tls
    if tls is not None:
        tls = tls.model_copy(update={key: folder / value for key, value in tls if value is not None})
    password_file = broker.password_file and folder / broker.password_file
    return config.model_copy(
        update={
            "state_dir": folder / config.state_dir,
            "trust": trust.model_copy(update={"folder": folder / trust.folder}),
            "broker": broker.model_copy(update={"tls": tls, "password_file": password_file}),
        }
    )

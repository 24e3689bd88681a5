"""The sections and keys of the agent's configuration, with their defaults and limits."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from drupelet_shared.contract.topics import DEFAULT_PREFIX
from drupelet_shared.names import NAME_PATTERN, Name
from drupelet_shared.units import ByteSize

# The default memory for messages: so many times the largest payload, and at most such a part of all memory.
_MESSAGES_PAYLOADS = 8
_MESSAGES_PART = 8


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class TlsConfig(_Section):
    """TLS to the broker; with `cert_file` and `key_file` the agent presents a client certificate.

    Attributes:
        ca_file: The certificate authority that the broker's certificate must come from; without it the system's.
        cert_file: This device's certificate.
        key_file: Its key.
    """

    ca_file: Path | None = None
    cert_file: Path | None = None
    key_file: Path | None = None

    @model_validator(mode="after")
    def _pair(self) -> Self:
        if (self.cert_file is None) != (self.key_file is None):
            raise ValueError("cert_file and key_file go together: one of them is missing")
        return self


class BrokerConfig(_Section):
    """Where the broker is and how the session behaves.

    Attributes:
        host: Its name or address.
        port: 8883 is usual with TLS.
        username: For brokers that ask for one.
        password_file: A file whose first line is the password.
        tls: TLS to the broker; without it the connection is plain.
        prefix: The first levels of all topics.
        keepalive_s: After how long without a word each side takes the other for gone.
        session_expiry_s: How long the broker keeps requests for an agent that is away.
        will_delay_s: How long the broker waits with the last will, so that a short interruption is not announced.
    """

    host: Annotated[str, Field(min_length=1)] = "localhost"
    port: Annotated[int, Field(ge=1, le=65535)] = 1883
    username: str | None = None
    password_file: Path | None = None
    tls: TlsConfig | None = None
    prefix: Annotated[str, Field(pattern=r"^[^+#$/][^+#]*[^+#/]$")] = DEFAULT_PREFIX
    keepalive_s: Annotated[int, Field(ge=5, le=3600)] = 30
    session_expiry_s: Annotated[int, Field(ge=0, le=86_400)] = 300
    will_delay_s: Annotated[int, Field(ge=0, le=3600)] = 0


class TrustConfig(_Section):
    """Whose packages are accepted.

    Attributes:
        folder: The makers' public keys, `*.pub`.
        allow_unsigned: Whether a package without a signature is accepted too.
        targets: Devices that packages may be compiled for; this board by default, and any on a machine that is none.
    """

    folder: Path = Path("/etc/drupelet/trust")
    allow_unsigned: bool = False
    targets: tuple[Name, ...] | None = None


class LimitsConfig(_Section):
    """Budgets, and how much one request may ask for.

    Attributes:
        memory: For all workers together; the smallest of this, the share, the cgroup's limit and what is free counts.
        memory_share: The same, as a share of what the machine has.
        cpu_cores: Cores that may be used; without it all that the process may use.
        queue_length: Requests that wait for one model; more are answered with `overloaded`.
        max_payload: Of a request or a reply.
        messages: Memory for requests and replies in progress, within `memory`; more are answered with `overloaded`.
            Eight times `max_payload` by default, and at most an eighth of `memory`.
        inference_timeout_s: After how long a worker that does not answer is ended.
        evict: Whether models that do not fit together take turns: the least recently used one then yields.
        keep_s: A model that was used or started less than this long ago does not yield.
        versions: How many releases of a model are served at once: 2 keeps the one before the active one.
    """

    memory: ByteSize | None = None
    memory_share: Annotated[float, Field(gt=0, le=1)] = 0.75
    cpu_cores: Annotated[int, Field(ge=1)] | None = None
    queue_length: Annotated[int, Field(ge=1, le=10_000)] = 64
    max_payload: ByteSize = 16 * 2**20
    messages: ByteSize | None = None
    inference_timeout_s: Annotated[float, Field(gt=0)] = 30.0
    evict: Literal["never", "least-recently-used"] = "never"
    keep_s: Annotated[float, Field(ge=0)] = 10.0
    versions: Annotated[int, Field(ge=1, le=2)] = 1

    @model_validator(mode="after")
    def _check_messages(self) -> Self:
        if self.messages is not None and self.memory is not None and self.messages >= self.memory:
            raise ValueError("messages is a part of memory: it must be smaller")
        return self

    @property
    def messages_bytes(self) -> int:
        """The memory for requests and replies in progress."""
        if self.messages is not None:
            return self.messages
        default = _MESSAGES_PAYLOADS * self.max_payload
        return default if self.memory is None else min(default, self.memory // _MESSAGES_PART)

    @property
    def models_bytes(self) -> int | None:
        """The part of `memory` that is left for models; None without a limit."""
        return None if self.memory is None else self.memory - self.messages_bytes


Objective = Literal["latency", "throughput"]


class TuningConfig(_Section):
    """How variants are measured at activation, and what the best one is.

    Attributes:
        objective: `latency` takes the lowest p99, and of those tied with it the lowest median; `throughput` the most
            inferences per second.
        max_p99_ms: The highest p99 that `throughput` may cost.
        threads: Thread counts to measure; without it powers of two up to the cores.
        instances: Worker counts to measure; without it 1 for latency, for throughput powers of two up to the cores.
        cores: `shared` lets every model use all cores, `split` gives each model its equal part of them.
        warmup: Runs before measuring.
        runs: Runs to measure of each candidate; up to ten times as many of those that cannot be told apart.
        max_seconds: Most time for measuring one candidate.
    """

    objective: Objective = "latency"
    max_p99_ms: Annotated[float, Field(gt=0)] | None = None
    threads: tuple[Annotated[int, Field(ge=1)], ...] | None = None
    instances: tuple[Annotated[int, Field(ge=1)], ...] | None = None
    cores: Literal["shared", "split"] = "shared"
    warmup: Annotated[int, Field(ge=0)] = 5
    runs: Annotated[int, Field(ge=1)] = 100
    max_seconds: Annotated[float, Field(gt=0)] = 3.0


class RetuneConfig(_Section):
    """When a running agent measures again.

    Attributes:
        enabled: Whether it does so by itself at all.
        look_s: Time between two looks at the device and at what was served.
        confirm: How many looks in a row must agree before anything is done.
        min_interval_s: Least time between two measurements of a model; it grows while they follow each other.
        drift_factor: Served p99 over the plan's, from which on the plan counts as outdated.
    """

    enabled: bool = True
    look_s: Annotated[float, Field(ge=0.1)] = 10.0
    confirm: Annotated[int, Field(ge=1)] = 6
    min_interval_s: Annotated[float, Field(ge=0)] = 900.0
    drift_factor: Annotated[float, Field(gt=1)] = 2.0


class ContractConfig(_Section):
    """What a release must keep while it serves, or the one before it comes back.

    Attributes:
        p99_ms: Highest p99 of an inference; a package that cannot reach it is not activated either.
        factor: Highest p99 of an inference as a multiple of the plan's.
        error_rate: Highest share of requests on which the engine or the worker fails.
        window_s: Least time over which this is judged.
        min_requests: Fewest requests over which this is judged.
    """

    p99_ms: Annotated[float, Field(gt=0)] | None = None
    factor: Annotated[float, Field(gt=1)] | None = None
    error_rate: Annotated[float, Field(gt=0, le=1)] | None = 0.5
    window_s: Annotated[float, Field(gt=0)] = 60.0
    min_requests: Annotated[int, Field(ge=1)] = 20

    def p99_limit_ms(self, planned_p99_ms: float) -> float | None:
        """The highest p99 for a plan; None if the contract says nothing about it."""
        by_factor = self.factor * planned_p99_ms if self.factor is not None else None
        return min((limit for limit in (self.p99_ms, by_factor) if limit is not None), default=None)


class ModelConfig(_Section):
    """What differs for one model.

    Attributes:
        objective: In place of `tuning.objective`.
        max_p99_ms: In place of `tuning.max_p99_ms`.
        contract: In place of `contract`, as a whole.
    """

    objective: Objective | None = None
    max_p99_ms: Annotated[float, Field(gt=0)] | None = None
    contract: ContractConfig | None = None


class EventsConfig(_Section):
    """From where on an event is published.

    Attributes:
        temperature_celsius: Highest temperature of the processor.
        memory_available: Least memory available.
        error_rate: Highest share of a window's requests that the device failed.
        error_rate_requests: Fewer requests than this say nothing about that share.
        latency_p99_ms: Highest p99 from arrival to reply; without it latency raises no event.
        windows: How many in a row it takes to raise an event, or to clear it.
    """

    temperature_celsius: Annotated[float, Field(gt=0)] | None = 80.0
    memory_available: ByteSize | None = 100 * 10**6
    error_rate: Annotated[float, Field(gt=0, le=1)] | None = 0.05
    error_rate_requests: Annotated[int, Field(ge=1)] = 10
    latency_p99_ms: Annotated[float, Field(gt=0)] | None = None
    windows: Annotated[int, Field(ge=1)] = 3


class DeliveryConfig(_Section):
    """What packages that come over the network may cost.

    Attributes:
        max_package: The largest package file.
        uploads: How many incoming files there are at most, whole ones that wait to be installed included.
        keep_s: How long a file is kept that is neither continued nor installed.
        reserve: Room on the disk that stays free.
        ca_file: Authority of the servers that packages are fetched from; the system's authorities by default.
    """

    max_package: ByteSize = 1024 * 2**20
    uploads: Annotated[int, Field(ge=1, le=64)] = 4
    keep_s: Annotated[float, Field(gt=0)] = 7 * 86_400.0
    reserve: ByteSize = 64 * 2**20
    ca_file: Path | None = None


class TelemetryConfig(_Section):
    """How often numbers are published, and where else they can be read.

    Attributes:
        interval_s: The length of a window.
        outbox_length: Messages kept while the broker is away; beyond it the oldest is dropped.
        prometheus_port: Of a text endpoint for Prometheus on the loopback interface; without it there is none.
        events: The limits beyond which an event is published.
    """

    interval_s: Annotated[float, Field(ge=0.1)] = 10.0
    outbox_length: Annotated[int, Field(ge=1)] = 256
    prometheus_port: Annotated[int, Field(ge=1, le=65535)] | None = None
    events: EventsConfig = EventsConfig()


class LogConfig(_Section):
    """What is logged to standard error.

    Attributes:
        level: The least important that is.
        format: Lines of text, or one JSON object a line.
    """

    level: Literal["debug", "info", "warning", "error"] = "info"
    format: Literal["text", "json"] = "text"


class AgentConfig(_Section):
    """The agent's configuration; relative paths are relative to the file.

    Attributes:
        device: The device's name in its topics; the host name by default.
        pools: Pools of devices whose requests it shares with their other members.
        state_dir: Where packages and measurements are kept.
        home_assistant: Describe the device and its sensors to Home Assistant's MQTT discovery.
        broker: Where the broker is.
        trust: Whose packages are accepted.
        limits: Budgets.
        tuning: How variants are measured, and which is the best.
        retune: When a running agent measures again.
        contract: What a release must keep while it serves.
        models: What differs for one model, by its name.
        delivery: What packages that come over the network may cost.
        telemetry: Numbers and events.
        log: What is logged.
    """

    device: Name = Field(default_factory=socket.gethostname, pattern=NAME_PATTERN, validate_default=True)
    pools: tuple[Name, ...] = ()
    state_dir: Path = Path("/var/lib/drupelet")
    home_assistant: bool = False
    broker: BrokerConfig = BrokerConfig()
    trust: TrustConfig = TrustConfig()
    limits: LimitsConfig = LimitsConfig()
    tuning: TuningConfig = TuningConfig()
    retune: RetuneConfig = RetuneConfig()
    contract: ContractConfig = ContractConfig()
    models: dict[Name, ModelConfig] = Field(default_factory=dict)
    delivery: DeliveryConfig = DeliveryConfig()
    telemetry: TelemetryConfig = TelemetryConfig()
    log: LogConfig = LogConfig()

    def tuning_of(self, model: str) -> TuningConfig:
        """How one model is tuned."""
        own = self.models.get(model, ModelConfig())
        changes = {"objective": own.objective, "max_p99_ms": own.max_p99_ms}
        return self.tuning.model_copy(update={key: value for key, value in changes.items() if value is not None})

    def contract_of(self, model: str) -> ContractConfig:
        """What one model must keep."""
        return self.models.get(model, ModelConfig()).contract or self.contract

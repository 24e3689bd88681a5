"""How packages get to a device: the state of an upload, and the desired state with what has become of it."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from drupelet_shared.names import Name, Sha256

# User Properties of a chunk, named as tus.io names its headers.
OFFSET_PROPERTY = "Upload-Offset"
LENGTH_PROPERTY = "Upload-Length"


# A desired state is a few names and a URL.
MAX_DESIRED_BYTES = 16 * 2**10

Source = Annotated[
    str,
    Field(min_length=1, max_length=2048, pattern=r"^(upload:[0-9a-f]{64}|https://\S+|file:///\S+)$"),
]


def shown_source(source: str) -> str:
    """A source as it may be logged and told: without a URL's query, in which signatures and tokens stand."""
    return source.partition("?")[0]


class _Message(BaseModel):
    # A newer peer may say more than this reader knows.
    model_config = ConfigDict(frozen=True, extra="ignore")

    def to_bytes(self) -> bytes:
        """The payload, UTF-8 JSON."""
        return self.model_dump_json(exclude_none=True).encode()


class UploadState(_Message):
    """The answer to a message on `upload/<digest>`.

    Attributes:
        digest: The SHA-256 of the file.
        size_bytes: The file's size.
        received_bytes: How much the device has, from the beginning; the next chunk starts there.
        chunk_offset: Where the chunk started that this answers; absent where it had none.
    """

    digest: Sha256
    size_bytes: Annotated[int, Field(ge=1)]
    received_bytes: Annotated[int, Field(ge=0)]
    chunk_offset: Annotated[int, Field(ge=0)] | None = None

    @property
    def is_complete(self) -> bool:
        """Whether the device has all of it."""
        return self.received_bytes == self.size_bytes

    @property
    def has_gap(self) -> bool:
        """Whether the chunk this answers came before one that should have come first."""
        return self.chunk_offset is not None and self.chunk_offset > self.received_bytes


class DesiredState(_Message):
    """`models/<model>/desired`, retained: which package of the model a device is to run, and where it is.

    Attributes:
        version: The version it must have.
        digest: The package digest it must have; one of the two, or both.
        source: `upload:<SHA-256 of the file>`, an `https://` or a `file:///` URL.
    """

    version: Name | None = None
    digest: Sha256 | None = None
    source: Source

    @model_validator(mode="after")
    def _names_a_package(self) -> Self:
        if self.version is None and self.digest is None:
            raise ValueError("expected a version, a digest or both")
        return self


class DeliveryState(_Message):
    """`models/<model>/delivery`, retained: how far the device is with the desired state.

    Attributes:
        model: The model.
        state: `waiting` for its turn, `fetching`, `installing`, `in_sync`, or `failed`.
        version: As desired.
        digest: As desired.
        source: As desired, without the query of a URL.
        stage: While it is installed, the latest stage, as commands tell them.
        done_bytes: While it is fetched, how much is there.
        total_bytes: While it is fetched, how much there will be.
        failures: Tries that failed since this was desired.
        retry_in_s: Seconds from the failure to the next try; absent if there will be none.
        error: What went wrong last.
        code: Its stable code.
    """

    model: Name
    state: Literal["waiting", "fetching", "installing", "in_sync", "failed"]
    version: Name | None = None
    digest: Sha256 | None = None
    source: str | None = None
    stage: str | None = None
    done_bytes: int | None = None
    total_bytes: int | None = None
    failures: int | None = None
    retry_in_s: float | None = None
    error: str | None = None
    code: str | None = None

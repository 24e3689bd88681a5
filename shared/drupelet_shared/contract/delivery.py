"""Messages about packages on their way to a device: uploads, desired states and delivery states."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from drupelet_shared.contract.messages import Count, Number
from drupelet_shared.contract.sources import Source
from drupelet_shared.names import Name, Sha256

# User Properties of a chunk, named as tus.io names its headers.
OFFSET_PROPERTY = "Upload-Offset"
LENGTH_PROPERTY = "Upload-Length"


# A desired state is a few names and a URL.
MAX_DESIRED_BYTES = 16 * 2**10


class _Message(BaseModel):
    # A newer peer may send fields that this version does not know.
    model_config = ConfigDict(frozen=True, extra="ignore")

    def to_bytes(self) -> bytes:
        """Return the MQTT payload, UTF-8 JSON."""
        return self.model_dump_json(exclude_none=True).encode()


class UploadState(_Message):
    """The answer to a message on `upload/<digest>`.

    Attributes:
        digest: The SHA-256 of the file.
        size_bytes: The file's size.
        received_bytes: Bytes that the device has from the start of the file; the offset of the next chunk.
        chunk_offset: The offset of the chunk that this answers; absent where it had none.
    """

    digest: Sha256
    size_bytes: Annotated[int, Field(ge=1)]
    received_bytes: Annotated[int, Field(ge=0)]
    chunk_offset: Annotated[int, Field(ge=0)] | None = None

    @property
    def is_complete(self) -> bool:
        """Whether the device has the whole file."""
        return self.received_bytes == self.size_bytes

    @property
    def has_gap(self) -> bool:
        """Whether the answered chunk starts beyond the bytes received: a chunk before it is missing."""
        return self.chunk_offset is not None and self.chunk_offset > self.received_bytes


class DesiredPackage(_Message):
    """A package that a device must run, and where to fetch it.

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


class RolloutMark(_Message):
    """The roll-out that wrote a desired state; devices ignore it.

    Attributes:
        id: The roll-out's identifier.
        wave: The number of the wave, from 1.
        previous: The desired state that it replaced, for the way back; absent if there was none.
    """

    id: Name
    wave: Annotated[int, Field(ge=1)]
    previous: DesiredPackage | None = None


class DesiredState(DesiredPackage):
    """`models/<model>/desired`, retained: which package of the model a device must run, and where to fetch it.

    Attributes:
        version: The version it must have.
        digest: The package digest it must have; one of the two, or both.
        source: `upload:<SHA-256 of the file>`, an `https://` or a `file:///` URL.
        rollout: The roll-out that wrote it; absent where none did.
    """

    rollout: RolloutMark | None = None

    @property
    def package(self) -> DesiredPackage:
        """What is desired, without who wrote it."""
        return DesiredPackage(version=self.version, digest=self.digest, source=self.source)


class DeliveryState(_Message):
    """`models/<model>/delivery`, retained: the progress of the device towards the desired state.

    Attributes:
        model: The model.
        state: `waiting` for its turn, `fetching`, `installing`, `in_sync`, or `failed`.
        version: As desired.
        digest: As desired.
        source: As desired, without the query of a URL.
        stage: While it is installed, the latest stage, as in `CommandProgress`.
        done_bytes: While it is fetched, bytes received.
        total_bytes: While it is fetched, the size.
        failures: Failed attempts since this state was desired.
        retry_in_s: Seconds from the failure to the next attempt; absent if there will be none.
        error: The latest error.
        code: Its stable code.
    """

    model: Name
    state: Literal["waiting", "fetching", "installing", "in_sync", "failed"]
    version: Name | None = None
    digest: Sha256 | None = None
    source: str | None = None
    stage: str | None = None
    done_bytes: Count | None = None
    total_bytes: Count | None = None
    failures: Count | None = None
    retry_in_s: Number | None = None
    error: str | None = None
    code: str | None = None

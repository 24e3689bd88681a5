"""How packages get to a device: the state of an upload."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from drupelet_shared.names import Sha256

# User Properties of a chunk, named as tus.io names its headers.
OFFSET_PROPERTY = "Upload-Offset"
LENGTH_PROPERTY = "Upload-Length"


class UploadState(BaseModel):
    """The answer to a message on `upload/<digest>`.

    Attributes:
        digest: The SHA-256 of the file.
        size_bytes: The file's size.
        received_bytes: How much the device has, from the beginning; the next chunk starts there.
        chunk_offset: Where the chunk started that this answers; absent where it had none.
    """

    # A newer peer may say more than this reader knows.
    model_config = ConfigDict(frozen=True, extra="ignore")

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

    def to_bytes(self) -> bytes:
        """The payload, UTF-8 JSON."""
        return self.model_dump_json(exclude_none=True).encode()

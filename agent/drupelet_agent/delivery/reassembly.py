"""Selects the part of a chunk that continues a file: a pure function."""

from __future__ import annotations

from drupelet_shared.errors import UploadError


def continuation(*, received: int, size: int, offset: int, length: int) -> slice | None:
    """Return the part of a chunk that continues a file, also if chunks were lost, repeated or cut differently.

    Args:
        received: The number of bytes received from the beginning of the file.
        size: The size of the file.
        offset: The position of the chunk in the file.
        length: The size of the chunk.

    Returns:
        The part of the chunk to append; None if it has no new bytes, or bytes before it are missing.

    Raises:
        UploadError: The chunk reaches beyond the end of the file.
    """
    if offset + length > size:
        raise UploadError(f"chunk of {length} bytes at {offset}: reaches beyond the file's {size} bytes")
    if not offset <= received < offset + length:
        return None
    return slice(received - offset, length)

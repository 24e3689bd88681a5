"""Which part of a chunk continues a file: a pure function."""

from __future__ import annotations

from drupelet_shared.errors import UploadError


def continuation(*, received: int, size: int, offset: int, length: int) -> slice | None:
    """Return the part of a chunk that comes next, whatever was lost, repeated or sent twice in other pieces.

    Args:
        received: How many bytes of the file are there, from its beginning.
        size: How many it will have.
        offset: Where in the file the chunk starts.
        length: How many bytes it has.

    Returns:
        The part of the chunk to append; None if nothing of it is new, or bytes before it are missing.

    Raises:
        UploadError: The chunk reaches beyond the end of the file.
    """
    if offset + length > size:
        raise UploadError(f"chunk of {length} bytes at {offset}: reaches beyond the file's {size} bytes")
    if not offset <= received < offset + length:
        return None
    return slice(received - offset, length)

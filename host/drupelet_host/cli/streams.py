"""Standard output that loses nothing in silence: a failed write is an error of ours, and any text can be written."""

from __future__ import annotations

import io
import os
import sys

from drupelet_host.errors import OutputError

_STDOUT = 1


class _GuardedFile(io.FileIO):
    """The file behind standard output; a write that fails raises `OutputError` through every layer above it."""

    def write(self, data: object, /) -> int:
        try:
            return super().write(data)  # type: ignore[arg-type] # a buffer, as the layer above hands it over
        except OSError as error:
            raise OutputError(f"standard output: {error.strerror or error}") from error


def guard_standard_output() -> None:
    """Replace `sys.stdout` by a stream whose failed writes raise `OutputError`.

    Characters that the locale's encoding does not have are written as "?". A closed standard output becomes one that
    discards what is written.
    """
    if sys.stdout is None:
        sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115, PTH123 - open as long as the process runs
        return
    file = _GuardedFile(_STDOUT, "wb", closefd=False)
    sys.stdout = io.TextIOWrapper(
        io.BufferedWriter(file),
        encoding=sys.stdout.encoding,
        errors="replace",
        line_buffering=sys.stdout.isatty(),
    )


def discard_standard_output() -> None:
    """Send what is still to be written to standard output to nowhere, so that the interpreter ends in silence."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, _STDOUT)
    os.close(nowhere)

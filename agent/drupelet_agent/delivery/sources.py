"""Obtains a package file from its source; only processes that install use this module."""

from __future__ import annotations

import hashlib
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import unquote, urlsplit

from drupelet_agent.config.agent import AgentConfig
from drupelet_agent.delivery.fetch import OnBytes, fetch
from drupelet_agent.delivery.spool import Spool
from drupelet_agent.errors import (
    PackageTooLargeError,
    UnknownUploadError,
    UploadDigestError,
    WrongPackageError,
)
from drupelet_agent.store.layout import StoreLayout
from drupelet_shared.errors import PackageError, SourceError
from drupelet_shared.units import format_bytes

_UPLOAD = "upload:"
_FILE = "file:"


@contextmanager
def obtained(source: str, config: AgentConfig, *, on_bytes: OnBytes) -> Iterator[Path]:
    """Provide the file of a source until the block ends.

    An uploaded or fetched file is removed afterwards if it was installed or can never be installed; after another error
    it is kept for another attempt.

    Args:
        on_bytes: Receives the number of bytes fetched from a URL.
        source: `upload:<digest>`, a `file:///` or an `https://` URL.
        config: The agent's configuration.

    Returns:
        The path of the file.

    Raises:
        SourceError: The source does not exist, is incomplete or too large.
    """
    if source.startswith(_FILE):
        yield _local_file(source, limit_bytes=config.delivery.max_package)
        return
    if source.startswith(_UPLOAD):
        path = _uploaded(source.removeprefix(_UPLOAD), config)
        discard: Callable[[], None] = path.unlink
    else:
        partial = fetch(source, StoreLayout(config.state_dir).incoming / "fetched", config.delivery, on_bytes=on_bytes)
        path, discard = partial.path, partial.discard
    try:
        yield path
    except (PackageError, WrongPackageError):
        discard()
        raise
    discard()


def _uploaded(digest: str, config: AgentConfig) -> Path:
    path = Spool(StoreLayout(config.state_dir).incoming, config.delivery).whole(digest)
    try:
        with path.open("rb") as file:
            received_digest = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise UnknownUploadError(f"upload {digest[:12]}: not received completely") from error
    if received_digest != digest:
        path.unlink()
        raise UploadDigestError(
            f"upload {digest[:12]}: the file has SHA-256 {received_digest}; it was deleted, send it again"
        )
    return path


def _local_file(source: str, *, limit_bytes: int) -> Path:
    path = Path(unquote(urlsplit(source).path))
    try:
        status = path.stat()
    except OSError as error:
        raise SourceError(f"source {source}: {error.strerror}") from error
    except ValueError as error:
        raise SourceError(f"source {source}: {error}") from error
    if not stat.S_ISREG(status.st_mode):
        raise SourceError(f"source {source}: not a regular file")
    if status.st_size > limit_bytes:
        size, limit = format_bytes(status.st_size), format_bytes(limit_bytes)
        raise PackageTooLargeError(f"source {source} has {size}: the limit is {limit}")
    return path

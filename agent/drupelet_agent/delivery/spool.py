"""Uploaded files on disk, complete and partial ones.

<root>/<digest>.<size>.part   a partial file; its length is the number of bytes received
<root>/<digest>.drupe         a complete file; its digest is checked by the process that reads it
"""

from __future__ import annotations

import os
import shutil
import time
from pathlib import Path

from drupelet_agent.config.packages import DeliveryConfig
from drupelet_agent.delivery.reassembly import continuation
from drupelet_agent.errors import PackageTooLargeError, StoreFullError, TooManyUploadsError, store_errors
from drupelet_shared.errors import UploadError
from drupelet_shared.files import sync_folder
from drupelet_shared.units import format_bytes

_PART = ".part"
_WHOLE = ".drupe"
# An upload that received a chunk within this time is never evicted.
_AT_WORK_S = 60.0


class Spool:
    """The incoming files of one device; calls block on the disk, and only one runs at a time."""

    def __init__(self, root: Path, config: DeliveryConfig) -> None:
        """Use a folder, which is created with the first file.

        Args:
            root: The folder of the files.
            config: The limits of uploads.
        """
        self._root = root
        self._config = config
        # When this process wrote to a file last, by the monotonic clock.
        self._written_s: dict[str, float] = {}

    def received(self, digest: str, size: int) -> int:
        """Return the number of bytes received of a file; a new file is created if there is room.

        Raises:
            UploadError: Another size was announced for the same digest.
            PackageTooLargeError: The file is larger than this device accepts.
            StoreFullError: It does not fit on the disk.
            TooManyUploadsError: As many other files as this device accepts are being received.
            StoreError: The disk fails.
        """
        with store_errors(self._root):
            if self.whole(digest).is_file():
                return size
            part = self._part(digest)
            if part is not None:
                if part != self._path(digest, size):
                    raise UploadError(f"upload {digest[:12]}: {size} bytes announced, and earlier another size")
                received = part.stat().st_size
                if received == size:
                    # The power failed after its last bytes arrived.
                    self._finish(digest, part)
                return received
            self._check_new(digest, size)
            self._path(digest, size).touch()
            self._written_s[digest] = time.monotonic()
            return 0

    def append(self, digest: str, size: int, *, offset: int, chunk: bytes) -> int:
        """Append the new part of a chunk; the last chunk makes the file durable.

        Args:
            digest: The SHA-256 of the file.
            size: The size of the file.
            offset: The position of the chunk in the file.
            chunk: The bytes.

        Returns:
            The number of bytes received of the file.

        Raises:
            UploadError: The chunk reaches beyond the end; otherwise as `received`.
        """
        received = self.received(digest, size)
        part = continuation(received=received, size=size, offset=offset, length=len(chunk))
        if part is None:
            return received
        path = self._path(digest, size)
        with store_errors(self._root), path.open("r+b", buffering=0) as file:
            file.seek(received)
            file.write(chunk[part])
            received = file.tell()
            self._written_s[digest] = time.monotonic()
        if received == size:
            with store_errors(self._root):
                self._finish(digest, path)
        return received

    def whole(self, digest: str) -> Path:
        """Return the path of a complete file."""
        return self._root / f"{digest}{_WHOLE}"

    def collect(self) -> None:
        """Remove files that were neither continued nor installed for `keep_s`, by the clock of the device."""
        with store_errors(self._root):
            for path in self._files():
                if time.time() - path.stat().st_mtime > self._config.keep_s and not self._is_at_work(path):
                    path.unlink(missing_ok=True)

    def _finish(self, digest: str, path: Path) -> None:
        with path.open("rb") as file:
            os.fsync(file.fileno())
        path.replace(self.whole(digest))
        sync_folder(self._root)

    def _check_new(self, digest: str, size: int) -> None:
        limit, reserve = self._config.max_package, self._config.reserve
        if size > limit:
            raise PackageTooLargeError(
                f"upload {digest[:12]} has {format_bytes(size)}: the limit is {format_bytes(limit)}"
            )
        if not self._root.is_dir():
            self._root.mkdir(parents=True, exist_ok=True)
            sync_folder(self._root.parent)
        self.collect()
        self._make_room()
        free = shutil.disk_usage(self._root).free
        if size + reserve > free:
            raise StoreFullError(
                f"upload {digest[:12]} needs {format_bytes(size)}: {format_bytes(free)} are free, "
                f"of which {format_bytes(reserve)} must stay free"
            )

    def _make_room(self) -> None:
        """Evict the least recently written file if there are as many as allowed."""
        files = sorted(self._files(), key=lambda path: path.stat().st_mtime)
        if len(files) < self._config.uploads:
            return
        idle = [path for path in files if not self._is_at_work(path)]
        if not idle:
            raise TooManyUploadsError(f"{len(files)} uploads are being received already, the limit")
        idle[0].unlink()

    def _files(self) -> list[Path]:
        return [path for path in self._root.glob("*") if path.suffix in {_PART, _WHOLE}]

    def _part(self, digest: str) -> Path | None:
        return next(self._root.glob(f"{digest}.*{_PART}"), None)

    def _path(self, digest: str, size: int) -> Path:
        return self._root / f"{digest}.{size}{_PART}"

    def _is_at_work(self, path: Path) -> bool:
        written_s = self._written_s.get(path.name.partition(".")[0])
        return written_s is not None and time.monotonic() - written_s < _AT_WORK_S

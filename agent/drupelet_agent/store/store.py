"""The store: reading needs no lock, a change needs a writer, and a measurement holds a lock of its own."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from drupelet_agent.errors import StoreReadOnlyError, store_errors
from drupelet_agent.store.layout import StoreLayout
from drupelet_agent.store.locks import exclusive_folder_lock, exclusive_lock, is_locked
from drupelet_agent.store.reader import StoreReader
from drupelet_agent.store.writer import StoreWriter
from drupelet_shared.files import sync_folder


class Store(StoreReader):
    """The store under one folder."""

    def __init__(self, root: Path) -> None:
        """Open a store for reading; nothing is created.

        Args:
            root: The folder of the store.
        """
        super().__init__(StoreLayout(root))

    def create(self) -> None:
        """Create the folders that are missing.

        Raises:
            StoreError: A folder cannot be created.
        """
        layout = self.layout
        with store_errors(self.root):
            missing = [
                folder
                for folder in (layout.models, layout.packages, layout.staging, layout.measurements)
                if not folder.is_dir()
            ]
            for folder in missing:
                folder.mkdir(parents=True, exist_ok=True)
            if missing:
                # The entries of the folders themselves must outlive a power cut.
                sync_folder(self.root)
                sync_folder(self.root.parent)

    @contextmanager
    def writer(self, *, timeout_s: float = 0.0) -> Iterator[StoreWriter]:
        """Hold the lock of the store for the duration of the block, and provide a writer.

        Leftovers of an interrupted writer are removed first.

        Args:
            timeout_s: How long to wait for another writer.

        Raises:
            StoreBusyError: Another process changes the store until the timeout.
            StoreReadOnlyError: The store's file system is read-only.
            StoreError: The file system fails.
        """
        self.create()
        if self.is_read_only():
            raise StoreReadOnlyError(f"store {self.root}: the file system is read-only")
        with exclusive_lock(self.layout.lock, what=f"store {self.root}", activity="changing it", timeout_s=timeout_s):
            yield StoreWriter(self.layout)

    @contextmanager
    def serving(self, *, timeout_s: float) -> Iterator[None]:
        """Be the one agent that serves from this store, for the duration of the block.

        Two agents on one store follow each other's desired states, and remove each other's uploads.

        Args:
            timeout_s: How long to wait for another agent, which may be stopping.

        Raises:
            StoreBusyError: Another agent serves from the store until the timeout.
            StoreError: The folder cannot be opened.
        """
        with exclusive_folder_lock(
            self.root, what=f"state_dir {self.root}", activity="serving from it", timeout_s=timeout_s
        ):
            yield

    @contextmanager
    def measuring(self, *, timeout_s: float) -> Iterator[None]:
        """Be the one process that measures on this device, for the duration of the block.

        Args:
            timeout_s: How long to wait for another process; `is_measuring` counts as one for a moment.

        Raises:
            StoreBusyError: Another process measures until the timeout.
            StoreError: The file system fails.
        """
        self.create()
        with exclusive_lock(
            self.layout.measuring_lock, what=f"store {self.root}", activity="measuring", timeout_s=timeout_s
        ):
            yield

    @contextmanager
    def candidate_folder(self, *, timeout_s: float) -> Iterator[Path]:
        """Be the one process that measures a candidate, in a new folder that is removed at the end.

        Whatever an earlier one left behind is removed first.

        Args:
            timeout_s: How long to wait for another process.

        Raises:
            StoreBusyError: Another process measures a candidate until the timeout.
            StoreError: The file system fails, is full or read-only.
        """
        layout = self.layout
        with store_errors(self.root):
            layout.candidates.mkdir(parents=True, exist_ok=True)
        lock = exclusive_lock(
            layout.candidates_lock, what=f"store {self.root}", activity="measuring a candidate", timeout_s=timeout_s
        )
        with lock:
            self._clear_candidates()
            with store_errors(self.root):
                folder = Path(tempfile.mkdtemp(dir=layout.candidates))
            try:
                yield folder
            finally:
                shutil.rmtree(folder, ignore_errors=True)

    def clear_candidates(self) -> None:
        """Remove what a process left behind that was ended while it measured a candidate.

        Raises:
            StoreError: The file system fails or is read-only.
        """
        if self.layout.candidates.is_dir() and not is_locked(self.layout.candidates_lock):
            self._clear_candidates()

    def is_measuring(self) -> bool:
        """Return whether a process is measuring a model, which slows down everything else; nothing on disk changes.

        Raises:
            StoreError: The lock's file cannot be opened.
        """
        return is_locked(self.layout.measuring_lock)

    def is_memory_shared(self) -> bool:
        """Return whether workers besides those that serve need memory now: of a model or of a candidate.

        Raises:
            StoreError: The lock's file cannot be opened.
        """
        return self.is_measuring() or is_locked(self.layout.candidates_lock)

    def _clear_candidates(self) -> None:
        with store_errors(self.root):
            for leftover in self.layout.candidates.iterdir():
                if leftover != self.layout.candidates_lock:
                    shutil.rmtree(leftover)

"""Stores the results of finished passes on disk: one folder for each, named after the digest of the pass's inputs."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import logging
import os
import pickle
import shutil
import time
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from pydantic_core import to_jsonable_python

from drupelet_host.compiler.lineage import digest_file
from drupelet_host.compiler.pass_protocol import Pass, PassResult
from drupelet_host.compiler.state import CompileState
from drupelet_host.recipe.factories import find_module_name
from drupelet_shared.files import sync_folder, write_atomically

log = logging.getLogger(__name__)

_ENTRY = "state.pickle"
# Never part of an entry: the data and the original are loaded anew, the lineage is the pipeline's.
_NOT_KEPT = frozenset(
    {
        "workspace",
        "unfinished",
        "samples",
        "test",
        "calibration",
        "metric",
        "latency_source",
        "compute",
        "continuation",
        "source",
        "lineage",
    }
)
_DIGEST_BYTES = 32
_DAY_S = 86_400.0


@dataclass(frozen=True, slots=True)
class FinishedPass:
    """The cached result of a pass.

    Attributes:
        result: The result of the pass.
        seconds: Its duration.
        decisions: The messages about its choices, which a later compile reports again.
    """

    result: PassResult
    seconds: float
    decisions: tuple[str, ...] = ()


class PassCache:
    """Finished passes in one folder. No other user may write to it: entries are pickles.

    Args:
        folder: The folder; it is created with mode 0700.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._folder = folder

    @property
    def folder(self) -> Path:
        """The folder with an entry for each pass."""
        return self._folder

    def key(self, step: Pass, parent: str) -> str:
        """Return the digest of what the pass's result depends on: its settings, and all that came before it."""
        settings = {field.name: getattr(step, field.name) for field in fields(step)}  # type: ignore[arg-type]  # passes are dataclasses
        text = json.dumps([step.name, to_jsonable_python(settings, fallback=repr), parent], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()

    def adopt(self, path: Path) -> Path:
        """Return a copy of a file, under its digest, that outlives the run."""
        digest = digest_file(path)
        folder = self._folder / digest
        copy = folder / path.name
        if not copy.exists() or digest_file(copy) != digest:
            folder.mkdir(exist_ok=True, mode=0o700)
            write_atomically(copy, path.read_bytes())
        os.utime(folder)
        return copy

    def workspace(self, key: str) -> Path:
        """Return an empty folder for the files of a pass that is about to run, of which the caller has the lock."""
        folder = self._folder / key
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(mode=0o700)
        return folder

    def unfinished(self, key: str) -> Path:
        """Return the folder for what a pass finishes before it ends as a whole; it need not exist."""
        return self._folder / f"{key}.unfinished"

    def load(self, key: str, state: CompileState) -> FinishedPass | None:
        """Return the result of a finished pass; None if it has not finished or its entry is damaged."""
        folder = self._folder / key
        try:
            stored = (folder / _ENTRY).read_bytes()
            digest, entry = stored[:_DIGEST_BYTES], stored[_DIGEST_BYTES:]
            if hashlib.sha256(entry).digest() != digest:
                return None
            changes, metrics, seconds, decisions, files = _Unpickler(io.BytesIO(entry)).load()
            if files != _digest_files(folder):
                return None
        except OSError:
            return None
        except Exception:  # a class of a person's own code that has moved since
            log.debug("a cached pass cannot be read key=%s", key, exc_info=True)
            return None
        os.utime(folder)
        training = changes.pop("training", None)
        if training is not None and state.training is not None:
            changes["training"] = replace(state.training, model=training)
        return FinishedPass(PassResult(replace(state, **changes), metrics), seconds, decisions)

    def store(self, key: str, before: CompileState, finished: FinishedPass) -> str | None:
        """Store the result of a pass; return the reason if that is impossible, else None.

        A module that cannot be pickled, such as one that keeps a lambda, is compiled anew each time; so is
        every model where the cache cannot be written.

        Args:
            key: The key of the pass.
            before: The state before the pass.
            finished: The pass.

        Returns:
            The reason why the pass is not kept; None where it is.
        """
        after = finished.result.state
        changes: dict[str, Any] = {
            field.name: getattr(after, field.name)
            for field in fields(after)
            if field.name not in _NOT_KEPT and getattr(after, field.name) is not getattr(before, field.name)
        }
        if "training" in changes:
            changes["training"] = after.training.model if after.training else None
        folder = self._folder / key
        kept = (changes, dict(finished.result.metrics), finished.seconds, finished.decisions, _digest_files(folder))
        try:
            entry = pickle.dumps(kept)
        except Exception as error:  # noqa: BLE001 - a person's module may hold what pickle refuses in many ways
            return f"the model cannot be pickled: {(str(error).splitlines() or [type(error).__name__])[0]}"
        try:
            write_atomically(folder / _ENTRY, hashlib.sha256(entry).digest() + entry)
            sync_folder(self._folder)
        except OSError as error:
            return f"cache {self._folder}: {error.strerror or error}"
        shutil.rmtree(self.unfinished(key), ignore_errors=True)
        return None

    def collect(self, *, max_age_s: float = 14 * _DAY_S) -> None:
        """Remove entries that nothing has used for two weeks."""
        oldest = time.time() - max_age_s
        for entry in self._folder.iterdir():
            with contextlib.suppress(OSError):
                if entry.stat().st_mtime >= oldest:
                    continue
                if entry.is_dir():
                    shutil.rmtree(entry)
                else:
                    # The lock of a compile that was killed.
                    entry.unlink()


class _Unpickler(pickle.Unpickler):
    """Finds the classes of a person's files where they are now: the key tells that their code is the same."""

    def find_class(self, module_name: str, global_name: str, /) -> Any:  # noqa: ANN401 - pickle's
        return super().find_class(find_module_name(module_name), global_name)


def _digest_files(folder: Path) -> dict[str, str]:
    """Return the digests of the model files of an entry."""
    return {path.name: digest_file(path) for path in folder.iterdir() if path.name != _ENTRY}

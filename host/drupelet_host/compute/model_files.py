"""Model files as values that travel to workers, which need not see this machine's disks."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Self

from drupelet_shared.engines.files import model_files


@dataclass(frozen=True, slots=True)
class ModelFiles:
    """The files of one model by name, the one that an engine is given first.

    Attributes:
        contents: Name and content of each.
    """

    contents: tuple[tuple[str, bytes], ...]

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read a model's files."""
        return cls(tuple((file.name, file.read_bytes()) for file in model_files(path)))

    def write(self, folder: Path) -> Path:
        """Write the files to a folder and return the first."""
        for name, content in self.contents:
            (folder / name).write_bytes(content)
        return folder / self.contents[0][0]

"""Paths of files that must be there; a path that is not there is answered with the nearest name in its folder."""

from __future__ import annotations

import difflib
import os
from pathlib import Path
from typing import Any

import click


class InputPath(click.Path):
    """The path of a file or folder that exists."""

    def __init__(self, *, dir_okay: bool = True) -> None:
        """Make the type.

        Args:
            dir_okay: Whether a folder is accepted.
        """
        super().__init__(exists=True, dir_okay=dir_okay, path_type=Path)

    def convert(self, value: str | os.PathLike[str], param: click.Parameter | None, ctx: click.Context | None) -> Any:  # noqa: ANN401 - the signature is click's
        """Return the path.

        Args:
            value: What was typed.
            param: The parameter, for the message.
            ctx: The context, for the message.

        Raises:
            click.BadParameter: Nothing is there, or it is not readable, or it is a folder where a file is needed.
        """
        path = Path(value)
        try:
            if path.is_symlink() and not _is_there(path):
                self.fail(f"{str(path)!r} is a link to {str(path.readlink())!r}, which is not there", param, ctx)
            if not path.exists() and (nearest := _nearest(path)):
                self.fail(f"{str(path)!r} does not exist. Did you mean {str(nearest)!r}?", param, ctx)
        except OSError as error:
            self.fail(f"{str(path)!r}: {error.strerror}", param, ctx)
        return super().convert(value, param, ctx)


class OutputPath(click.Path):
    """The path of a file to write: in a folder that exists, and no device or pipe, which would be replaced."""

    def __init__(self) -> None:
        """Make the type."""
        super().__init__(dir_okay=False, path_type=Path)

    def convert(self, value: str | os.PathLike[str], param: click.Parameter | None, ctx: click.Context | None) -> Any:  # noqa: ANN401 - the signature is click's
        """Return the path.

        Args:
            value: What was typed.
            param: The parameter, for the message.
            ctx: The context, for the message.

        Raises:
            click.BadParameter: A folder or a device is there, or its folder is missing.
        """
        path = Path(super().convert(value, param, ctx))  # type: ignore[arg-type] # click takes and gives any kind of path
        try:
            if path.exists() and not path.is_file():
                self.fail(f"{str(path)!r} is not a file: name a new one", param, ctx)
            if not path.parent.is_dir():
                self.fail(f"{str(path)!r}: there is no folder {str(path.parent)!r}: make it first", param, ctx)
        except OSError as error:
            self.fail(f"{str(path)!r}: {error.strerror}", param, ctx)
        return path


def _is_there(path: Path) -> bool:
    try:
        return path.exists()
    except (OSError, RuntimeError):
        # A link to itself.
        return False


def _nearest(path: Path) -> Path | None:
    try:
        names = [one.name for one in path.parent.iterdir()]
    except OSError:
        return None
    nearest = difflib.get_close_matches(path.name, names, n=1)
    return path.parent / nearest[0] if nearest else None

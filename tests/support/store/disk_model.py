"""What may be on a disk after the power failed: whatever was not synced may be there or not, in any combination.

A model in the manner of ALICE (Pillai et al., OSDI 2014): entries of folders and contents of files become durable by an
fsync of the folder and of the file, and by nothing else; a rename is atomic.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePath


@dataclass(eq=False)
class File:
    """A file: what was written to it, and what of that is durable."""

    content: bytes = b""
    synced: bytes = b""


@dataclass(eq=False)
class Folder:
    """A folder: its entries, and those of them that are durable."""

    entries: dict[str, Node] = field(default_factory=dict)
    synced: dict[str, Node] = field(default_factory=dict)


Node = File | Folder


@dataclass(frozen=True, eq=False)
class Change:
    """One change of folders that may be durable or not: an entry that goes, one that comes, or both at once."""

    added: tuple[Folder, str, Node] | None = None
    removed: tuple[Folder, str] | None = None

    @property
    def made_durable_by(self) -> Folder:
        """The folder whose fsync makes it so."""
        found = self.added or self.removed
        assert found is not None
        return found[0]


# A whole tree as bytes by path; None is a folder.
Tree = tuple[tuple[str, bytes | None], ...]


class Disk:
    """A folder on a disk, from its durable state on."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._top = _read(root)
        self._pending: list[Change] = []

    def find(self, path: Path) -> Node | None:
        """What is at a path now."""
        node: Node = self._top
        for name in self._relative(path).parts:
            if not isinstance(node, Folder) or name not in node.entries:
                return None
            node = node.entries[name]
        return node

    def covers(self, path: Path) -> bool:
        """Whether a path is on this disk."""
        return path.is_relative_to(self._root)

    def add(self, path: Path, node: Node) -> None:
        """A file or folder is made."""
        self._change(Change(added=(*self._place(path), node)))

    def remove(self, path: Path) -> None:
        """A file or folder is removed."""
        self._change(Change(removed=self._place(path)))

    def rename(self, source: Path, target: Path) -> None:
        """A file or folder gets another name, in place of what had it."""
        node = self.find(source)
        assert node is not None, source
        self._change(Change(added=(*self._place(target), node), removed=self._place(source)))

    def sync(self, path: Path) -> None:
        """A file's content, or a folder's entries, become durable."""
        node = self.find(path)
        if isinstance(node, File):
            node.synced = node.content
        elif node is not None:
            durable = [change for change in self._pending if change.made_durable_by is node]
            self._pending = [change for change in self._pending if change.made_durable_by is not node]
            for change in durable:
                _apply(change, synced=True)

    def states(self) -> Iterator[Tree]:
        """What may be on the disk if the power fails now: with none, all, and all but one of what is not durable."""
        choices = [[], self._pending, *([c for c in self._pending if c is not left] for left in self._pending)]
        for chosen in choices:
            for has_contents in (False, True):
                yield tuple(sorted(_walk(self._after(chosen), has_contents=has_contents)))

    def _after(self, chosen: list[Change]) -> dict[Folder, dict[str, Node]]:
        entries: dict[Folder, dict[str, Node]] = {}
        _collect(self._top, entries)
        for change in chosen:
            if change.removed is not None:
                folder, name = change.removed
                entries.setdefault(folder, dict(folder.synced)).pop(name, None)
            if change.added is not None:
                folder, name, node = change.added
                entries.setdefault(folder, dict(folder.synced))[name] = node
        return {self._top: entries[self._top], **entries}

    def _change(self, change: Change) -> None:
        _apply(change, synced=False)
        self._pending.append(change)

    def _place(self, path: Path) -> tuple[Folder, str]:
        folder = self.find(path.parent)
        assert isinstance(folder, Folder), path
        return folder, path.name

    def _relative(self, path: Path) -> PurePath:
        return path.relative_to(self._root)


def write_tree(tree: Tree, root: Path) -> None:
    """Make a folder what a tree says."""
    root.mkdir()
    for name, content in tree:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if content is None:
            path.mkdir(exist_ok=True)
        else:
            path.write_bytes(content)


def _read(path: Path) -> Folder:
    folder = Folder()
    for child in path.iterdir():
        folder.entries[child.name] = _read(child) if child.is_dir() else File(child.read_bytes(), child.read_bytes())
    folder.synced = dict(folder.entries)
    return folder


def _apply(change: Change, *, synced: bool) -> None:
    if change.removed is not None:
        folder, name = change.removed
        (folder.synced if synced else folder.entries).pop(name, None)
    if change.added is not None:
        folder, name, node = change.added
        (folder.synced if synced else folder.entries)[name] = node


def _collect(folder: Folder, entries: dict[Folder, dict[str, Node]]) -> None:
    entries[folder] = dict(folder.synced)
    for node in folder.synced.values():
        if isinstance(node, Folder):
            _collect(node, entries)


def _walk(
    entries: dict[Folder, dict[str, Node]], *, has_contents: bool, folder: Folder | None = None, at: str = ""
) -> Iterator[tuple[str, bytes | None]]:
    top = folder or next(iter(entries))
    for name, node in entries.get(top, top.synced).items():
        path = f"{at}{name}"
        if isinstance(node, File):
            yield path, node.content if has_contents else node.synced
        else:
            yield path, None
            yield from _walk(entries, has_contents=has_contents, folder=node, at=f"{path}/")

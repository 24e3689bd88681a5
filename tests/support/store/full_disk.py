"""Runs each operation on a store whose disk has ever more room, until it succeeds, and prints what was found as JSON.

Must be root of a mount namespace of its own:
`unshare --user --map-root-user --mount python -m support.store.full_disk`.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from drupelet_agent.errors import StoreFullError
from drupelet_agent.store.store import Store
from drupelet_shared.errors import DrupeletError, NoSpaceError
from support.store.kill_points import RELEASES, active_release
from support.store.store_operations import Operations, check_store

_DISK_BYTES = 2 * 2**20
_PAGE_BYTES = 4096


def fill(disk: Path, *, left_bytes: int) -> Path:
    """Take up all room but so much."""
    filler = disk / "filler"
    filler.write_bytes(bytes(max(0, shutil.disk_usage(disk).free - left_bytes)))
    return filler


def try_operation(name: str, operations: Operations, disk: Path) -> dict[str, Any]:
    """Give one operation no room, then a page more each time; what it says, and the store after each refusal."""
    operation, left, messages = operations.by_name[name], 0, list[str]()
    while True:
        root = disk / "store"
        operations.make(root, name)
        before = active_release(root)
        filler = fill(disk, left_bytes=left)
        try:
            operation.run(Store(root))
        except (StoreFullError, NoSpaceError) as error:
            messages.append(f"{error} [{error.code}]")
        except DrupeletError as error:
            raise AssertionError(f"{name} with {left} bytes free: {error} [{error.code}]") from error
        else:
            filler.unlink()
            assert check_store(root, allowed={operation.active}, releases=RELEASES) == operation.active
            shutil.rmtree(root)
            return {"needs_bytes": left, "messages": messages}
        filler.unlink()
        # A record may have changed before there was no room for the next step, which only frees some.
        check_store(root, allowed={before, operation.active}, releases=RELEASES)
        shutil.rmtree(root)
        left += _PAGE_BYTES


def main() -> None:
    """Try every operation on a small disk of its own."""
    parser = argparse.ArgumentParser()
    parser.add_argument("packages", type=Path)
    parser.add_argument("disk", type=Path)
    arguments = parser.parse_args()
    size = f"size={_DISK_BYTES}"
    subprocess.run(["mount", "-t", "tmpfs", "-o", size, "none", str(arguments.disk)], check=True)
    operations = Operations(arguments.packages)
    json.dump({name: try_operation(name, operations, arguments.disk) for name in operations.by_name}, sys.stdout)


if __name__ == "__main__":
    main()

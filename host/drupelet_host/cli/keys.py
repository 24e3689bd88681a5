"""`drupelet keygen`: generate a signing key."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import click

from drupelet_host.cli.command_group import GroupedCommand
from drupelet_host.cli.output import print_json
from drupelet_host.packaging.keys import PRIVATE_SUFFIX, PUBLIC_SUFFIX, generate_key_pair

_NOT_IGNORED = 1


@click.command(cls=GroupedCommand)
@click.argument("prefix", metavar="[PATH_PREFIX]", default="drupelet", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
def keygen(prefix: Path, *, as_json: bool) -> None:
    """Generate an ECDSA P-256 key pair: PATH_PREFIX.key signs packages, PATH_PREFIX.pub goes to the devices.

    PATH_PREFIX is "drupelet" by default. An existing file is never overwritten. Only you can read the private key. Keep
    it on the machine that signs, outside of repositories, and a copy of it offline: anyone who has it can sign, and
    without it your devices accept no further release.

    Example: drupelet keygen keys/release-2026
    """
    key = generate_key_pair(prefix)
    private, public = f"{prefix}{PRIVATE_SUFFIX}", f"{prefix}{PUBLIC_SUFFIX}"
    if as_json:
        print_json({"private_key": private, "public_key": public, "key_id": key.id})
    else:
        click.echo(f"private key  {private}  (secret, mode 0600: anyone who has it can sign)")
        click.echo(f"public key   {public}  (copy it to each device's trust folder)")
        click.echo(f"key id       {key.id}")
        click.echo(
            f"Keep {private} on the machine that signs, outside of repositories, and a copy of it offline: without it "
            "your devices accept no further release.",
            err=True,
        )
    if _would_be_committed(Path(private)):
        click.echo(
            f"note: {private} is in a git repository that does not ignore it: add *{PRIVATE_SUFFIX} to .gitignore, or "
            "move the key",
            err=True,
        )


def _would_be_committed(path: Path) -> bool:
    if shutil.which("git") is None:
        return False
    command = ["git", "-C", str(path.parent), "check-ignore", "--quiet", path.name]
    return subprocess.run(command, capture_output=True, check=False).returncode == _NOT_IGNORED

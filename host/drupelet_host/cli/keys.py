"""`drupelet keygen`: generate a signing key."""

from __future__ import annotations

from pathlib import Path

import click

from drupelet_host.packaging.keys import PRIVATE_SUFFIX, PUBLIC_SUFFIX, generate_key_pair


@click.command()
@click.argument("prefix", metavar="[PATH_PREFIX]", default="drupelet", type=click.Path(path_type=Path))
def keygen(prefix: Path) -> None:
    """Generate an ECDSA P-256 key pair: PATH_PREFIX.key signs packages, PATH_PREFIX.pub goes to the devices.

    PATH_PREFIX is "drupelet" by default. An existing file is never overwritten.

    Example: drupelet keygen keys/release-2026
    """
    key = generate_key_pair(prefix)
    click.echo(f"private key  {prefix}{PRIVATE_SUFFIX}  (keep it secret: anyone who has it can sign)")
    click.echo(f"public key   {prefix}{PUBLIC_SUFFIX}  (copy it to each device's trust folder)")
    click.echo(f"key id       {key.id}")

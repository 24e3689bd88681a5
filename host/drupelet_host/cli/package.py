"""`drupelet sign`, `drupelet verify` and `drupelet inspect`: work on existing packages."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from drupelet_host.cli.command_group import GroupedCommand
from drupelet_host.cli.describe import describe_package, print_package
from drupelet_host.cli.output import print_json
from drupelet_host.cli.paths import InputPath, OutputPath
from drupelet_host.packaging.keys import load_private_key
from drupelet_host.packaging.signing import open_package, sign_package
from drupelet_shared.errors import PackageError
from drupelet_shared.exit_codes import EXIT_FAILED
from drupelet_shared.package.signature import PublicKey, identify_key
from drupelet_shared.package.trust import load_public_key, load_trust_folder

_package = click.argument("package", type=InputPath())
_key = click.option(
    "--key",
    "keys",
    multiple=True,
    type=click.Path(path_type=Path, dir_okay=False),
    help="Trusted public key; may be given several times.",
)
_trust = click.option(
    "--trust", type=click.Path(path_type=Path, file_okay=False), help="Folder of trusted public keys, *.pub."
)
_json = click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")


@click.command(cls=GroupedCommand)
@_package
@click.option("--key", required=True, type=click.Path(path_type=Path, dir_okay=False), help="Private key to sign with.")
@click.option(
    "--output",
    type=OutputPath(),
    help="Write the signed archive to this path instead of replacing PACKAGE.",
)
@_json
def sign(package: Path, key: Path, output: Path | None, *, as_json: bool) -> None:
    """Sign PACKAGE, a .drupe file or the folder of an unpacked one, and replace any signature it has.

    Example: drupelet sign mnist-1.0.0.drupe --key drupelet.key
    """
    private_key = load_private_key(key)
    signed = sign_package(package, private_key, output=output)
    if as_json:
        print_json({"package": str(signed), "key_id": identify_key(private_key.public_key()).id})
    else:
        click.echo(f"signed {signed}")


@click.command(cls=GroupedCommand)
@_package
@_key
@_trust
@_json
def verify(package: Path, keys: tuple[Path, ...], trust: Path | None, *, as_json: bool) -> None:
    """Verify the digests and the signature of PACKAGE, a .drupe file or the folder of an unpacked one.

    The exit code is 0 if a trusted key signed the package, and 1 if it is refused.

    Example: drupelet verify mnist-1.0.0.drupe --key drupelet.pub
    """
    trusted_keys = _load_trusted(keys, trust)
    if trusted_keys is None:
        raise click.UsageError("name the trusted keys: --key FILE or --trust FOLDER")
    try:
        with open_package(package, trusted_keys=trusted_keys) as opened:
            manifest, digest, signed_by = opened.manifest, opened.digest, opened.signed_by
    except PackageError as error:
        if not as_json:
            raise
        print_json({"valid": False, "error": str(error), "code": error.code})
        sys.exit(EXIT_FAILED)
    if as_json:
        identity = {"name": manifest.name, "version": manifest.version, "release": manifest.release}
        print_json({"valid": True, **identity, "digest": digest, "signed_by": signed_by})
        return
    click.echo(f"{manifest.name} {manifest.version} (release {manifest.release}) is valid, signed by key {signed_by}")


@click.command(cls=GroupedCommand)
@_package
@_key
@_trust
@_json
def inspect(package: Path, keys: tuple[Path, ...], trust: Path | None, *, as_json: bool) -> None:
    """Show the manifest, variants and files of PACKAGE, a .drupe file or the folder of an unpacked one.

    Files are verified against their digests; the signature only with --key or --trust.

    Example: drupelet inspect mnist-1.0.0.drupe
    """
    with open_package(package, trusted_keys=_load_trusted(keys, trust)) as opened:
        description = describe_package(opened)
    if as_json:
        print_json(description.to_json())
    else:
        print_package(description)


def _load_trusted(keys: tuple[Path, ...], trust: Path | None) -> tuple[PublicKey, ...] | None:
    if not keys and trust is None:
        return None
    from_folder = load_trust_folder(trust) if trust is not None else ()
    return (*map(load_public_key, keys), *from_folder)

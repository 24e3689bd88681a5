"""`drupelet sign`, `drupelet verify` and `drupelet inspect`: packages that exist already."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from drupelet_host.cli import EXIT_FAILED
from drupelet_host.cli.describe import describe_package, print_package
from drupelet_host.cli.output import print_json
from drupelet_host.packaging.keys import load_private_key
from drupelet_host.packaging.signing import open_package, sign_package
from drupelet_shared.errors import PackageError
from drupelet_shared.package.signature import PublicKey
from drupelet_shared.package.trust import load_public_key, load_trust_folder

_package = click.argument("package", type=click.Path(exists=True, path_type=Path))
_key = click.option(
    "--key", "keys", multiple=True, type=click.Path(path_type=Path), help="A trusted public key; may be given twice."
)
_trust = click.option("--trust", type=click.Path(path_type=Path), help="A folder of trusted public keys, *.pub.")
_json = click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")


@click.command()
@_package
@click.option("--key", required=True, type=click.Path(path_type=Path), help="The private key to sign with.")
@click.option("--output", type=click.Path(path_type=Path), help="Write the signed archive here, not in place.")
def sign(package: Path, key: Path, output: Path | None) -> None:
    """Sign PACKAGE, a .drupe file or the folder of an unpacked one, in place of the signature it may have.

    Example: drupelet sign mnist-1.0.0.drupe --key drupelet.key
    """
    click.echo(f"signed {sign_package(package, load_private_key(key), output=output)}")


@click.command()
@_package
@_key
@_trust
@_json
def verify(package: Path, keys: tuple[Path, ...], trust: Path | None, *, as_json: bool) -> None:
    """Check every byte of PACKAGE, a .drupe file or the folder of an unpacked one, and its signature.

    Exits with 0 if a trusted key signed it, with 1 if it is refused.

    Example: drupelet verify mnist-1.0.0.drupe --key drupelet.pub
    """
    trusted_keys = _load_trusted(keys, trust)
    if trusted_keys is None:
        raise click.UsageError("name the keys that you trust, with --key or --trust")
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
    click.echo(f"{manifest.name} {manifest.version} (release {manifest.release}) is whole, signed by key {signed_by}")


@click.command()
@_package
@_key
@_trust
@_json
def inspect(package: Path, keys: tuple[Path, ...], trust: Path | None, *, as_json: bool) -> None:
    """Show what PACKAGE, a .drupe file or the folder of an unpacked one, says about itself.

    Files are checked against their digests; the signature only if a key or a trust folder is named.

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

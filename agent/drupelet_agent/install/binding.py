"""Checks that a package is the requested one and targets this device."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass

from drupelet_agent.errors import WrongPackageError, WrongTargetError
from drupelet_shared.contract.measuring import MEASUREMENT_TASK
from drupelet_shared.package.manifest import Manifest

# Boards with the same processor have one target name.
_ALIKE = {"raspberry_pi_400": "raspberry_pi_4", "raspberry_pi_compute_module_4": "raspberry_pi_4"}
_BOARD = re.compile(r"Raspberry Pi (Compute Module \d+|\d+)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Expected:
    """The package that a request names; None accepts any value.

    Attributes:
        model: The model.
        version: The version.
        digest: The package digest.
    """

    model: str | None = None
    version: str | None = None
    digest: str | None = None


ANYTHING = Expected()


def check_expected(manifest: Manifest, digest: str, expected: Expected) -> None:
    """Check that a package is the requested one.

    Args:
        manifest: The manifest of the package.
        digest: The digest of the package.
        expected: What the request names.

    Raises:
        WrongPackageError: The model, the version or the digest differs from the request.
    """
    actual = {"model": manifest.name, "version": manifest.version, "digest": digest}
    faults = [
        f"{what} is {actual[what]}, expected {required}"
        for what, required in asdict(expected).items()
        if required not in {None, actual[what]}
    ]
    if faults:
        raise WrongPackageError(f"package {manifest.name} {manifest.version}: {'; '.join(faults)}")


def check_installable(manifest: Manifest) -> None:
    """Refuse a package that a compiler made to be measured; its signature says nothing more of it.

    Raises:
        WrongPackageError: Its task is `measurement`.
    """
    if manifest.task == MEASUREMENT_TASK:
        raise WrongPackageError(
            f"package {manifest.name} {manifest.version}: was made to be measured, and cannot be installed"
        )


def check_target(manifest: Manifest, *, board: str | None, configured: Sequence[str] | None) -> None:
    """Refuse a package that was compiled for another device.

    Args:
        manifest: The package's manifest.
        board: The model name of this board; None on a machine without one, which accepts packages for any target.
        configured: The targets that are accepted instead of this board.

    Raises:
        WrongTargetError: The package was compiled for another target.
    """
    own = target_of(board)
    accepted = configured if configured is not None else (own,)
    if accepted != (None,) and manifest.target.device not in accepted:
        names = ", ".join(str(name) for name in accepted)
        raise WrongTargetError(
            f"package {manifest.name} {manifest.version} is for {manifest.target.device}: this device takes those for "
            f"{names} (trust.targets)"
        )


def target_of(board: str | None) -> str | None:
    """Return the target name of a board; None if it is no Raspberry Pi."""
    match = _BOARD.match(board or "")
    if match is None:
        return None
    name = f"raspberry_pi_{match[1].lower().replace(' ', '_')}"
    return _ALIKE.get(name, name)

"""Which packages are this device's."""

from __future__ import annotations

import pytest

from drupelet_agent.errors import WrongPackageError, WrongTargetError
from drupelet_agent.install.binding import Expected, check_expected, check_target, target_of
from drupelet_shared.package.manifest import Manifest, Target
from support.package.packages import FILES, make_manifest

DIGEST = "0" * 64
PI_4 = "Raspberry Pi 4 Model B Rev 1.4"


def manifest(target: str = "raspberry_pi_4") -> Manifest:
    return make_manifest(FILES).model_copy(update={"target": Target(device=target, architecture="aarch64")})


@pytest.mark.parametrize(
    ("board", "target"),
    [
        (PI_4, "raspberry_pi_4"),
        ("Raspberry Pi 400 Rev 1.0", "raspberry_pi_4"),
        ("Raspberry Pi Compute Module 4 Rev 1.1", "raspberry_pi_4"),
        ("Raspberry Pi 5 Model B Rev 1.0", "raspberry_pi_5"),
        ("Raspberry Pi 3 Model B Plus Rev 1.3", "raspberry_pi_3"),
        ("Some Laptop", None),
        (None, None),
    ],
)
def test_a_board_is_the_target_that_the_compiler_knows_it_by(board: str | None, target: str | None) -> None:
    assert target_of(board) == target


def test_a_package_for_another_board_is_refused_and_says_for_which() -> None:
    check_target(manifest(), board=PI_4, configured=None)
    with pytest.raises(WrongTargetError, match="is for raspberry_pi_5: this device takes those for raspberry_pi_4"):
        check_target(manifest("raspberry_pi_5"), board=PI_4, configured=None)


def test_the_configuration_decides_where_it_says_something() -> None:
    check_target(manifest("camera"), board=PI_4, configured=("camera", "raspberry_pi_4"))
    with pytest.raises(WrongTargetError, match="takes those for camera"):
        check_target(manifest(), board=PI_4, configured=("camera",))
    with pytest.raises(WrongTargetError):
        check_target(manifest(), board=None, configured=("camera",))


def test_a_workstation_takes_packages_for_any_target() -> None:
    check_target(manifest("raspberry_pi_5"), board=None, configured=None)


def test_a_package_is_of_the_model_the_version_and_the_digest_that_were_asked_for() -> None:
    check_expected(manifest(), DIGEST, Expected(model="digits", version="1.0.0", digest=DIGEST))
    with pytest.raises(WrongPackageError, match=r"model is digits, expected faces; version is 1\.0\.0, expected 2"):
        check_expected(manifest(), DIGEST, Expected(model="faces", version="2"))
    with pytest.raises(WrongPackageError, match="digest is 0"):
        check_expected(manifest(), DIGEST, Expected(digest="1" * 64))

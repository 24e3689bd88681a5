"""The push of a package over the broker in memory: what is sent, repeated and reported."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from drupelet_host.client.control.control import ControlClient
from drupelet_host.client.control.push import PushResult, push
from drupelet_host.errors import DeviceRestartedError, RemoteError
from drupelet_shared.contract.commands import CommandProgress, InstalledModel, InstalledModels, InstalledRelease
from drupelet_shared.contract.messages import ErrorReply, Plan
from drupelet_shared.package.reading import UnpackedPackage
from fakes.control_device import Command, ControlledDevice
from fakes.mqtt import ADDRESS, FakeBroker

DIGEST = "9f" * 32
PLAN = Plan(
    engine="onnxruntime",
    threads=1,
    instances=1,
    memory_budget_bytes=1,
    p50_ms=1.0,
    p99_ms=2.0,
    footprint_bytes=1,
    reason="only one",
)
RELEASE = InstalledRelease(model="digits", version="1.0.0", release=1, digest=DIGEST, variant="ort", plan=PLAN)
OTHER = RELEASE.model_copy(update={"digest": "00" * 32})
NOTHING = InstalledModels(models=(), free_bytes=1)
# Only the identity of a package matters here.
PACKAGE = cast(
    "UnpackedPackage", SimpleNamespace(digest=DIGEST, manifest=SimpleNamespace(name="digits", version="1.0.0"))
)


class Observer:
    def __init__(self) -> None:
        self.stages: list[str] = []
        self.received_bytes = 0

    def sent(self, done: int, total: int) -> None:
        assert done <= total
        self.received_bytes = done

    def progressed(self, progress: CommandProgress) -> None:
        self.stages.append(progress.stage)


@pytest.fixture
def broker() -> FakeBroker:
    return FakeBroker()


@pytest.fixture
def device(broker: FakeBroker) -> ControlledDevice:
    device = ControlledDevice(broker)
    device.announce()
    device.commands = {"list": installed(NOTHING), "install": ok(RELEASE)}
    return device


@pytest.fixture
def control(broker: FakeBroker) -> Iterator[ControlClient]:
    with ControlClient(broker=ADDRESS, transport_factory=broker.connect, connect_timeout_s=1.0) as client:
        yield client


def ok(release: InstalledRelease) -> Command:
    progress = CommandProgress(command="install", stage="verified", detail="")
    return lambda _: [("progress", progress.to_bytes()), ("ok", release.to_bytes())]


def refuse(code: str) -> Command:
    return lambda _: [(code, ErrorReply(error="refused", code=code).to_bytes())]


def installed(*answers: InstalledModels) -> Command:
    remaining = iter(answers)
    last = answers[-1]
    return lambda _: [("ok", next(remaining, last).to_bytes())]


def models(**releases: InstalledRelease) -> InstalledModels:
    return InstalledModels(models=(InstalledModel(model="digits", highest_release=1, **releases),), free_bytes=1)


def run(
    control: ControlClient, tmp_path: Path, *, activate: bool = True, observer: Observer | None = None
) -> PushResult:
    archive = tmp_path / "digits.drupe"
    archive.write_bytes(b"content of a package")
    return push(control, "pi-7", archive, PACKAGE, activate=activate, observer=observer or Observer())


def names(device: ControlledDevice) -> list[str]:
    return [name for name, _ in device.requests]


def test_a_package_is_uploaded_and_installed_with_its_identity(
    device: ControlledDevice, control: ControlClient, tmp_path: Path
) -> None:
    observer = Observer()
    result = run(control, tmp_path, observer=observer)
    assert result == PushResult(RELEASE, was_installed=False)
    assert observer.stages == ["verified"]
    assert observer.received_bytes == len(b"content of a package")
    ((digest, content),) = device.files.items()
    assert content == b"content of a package"
    assert device.requests[-1] == (
        "install",
        {"source": f"upload:{digest}", "model": "digits", "version": "1.0.0", "digest": DIGEST, "activate": True},
    )


@pytest.mark.parametrize(
    ("activate", "there", "is_enough"),
    [
        (True, {"active": RELEASE}, True),
        (True, {"staged": RELEASE}, False),
        (True, {"active": OTHER, "previous": RELEASE}, False),
        (False, {"staged": RELEASE}, True),
        (False, {"active": RELEASE}, True),
        (False, {"active": RELEASE, "staged": OTHER}, False),
    ],
)
def test_a_device_that_has_the_package_in_its_place_gets_nothing(
    device: ControlledDevice,
    control: ControlClient,
    tmp_path: Path,
    *,
    activate: bool,
    there: dict[str, InstalledRelease],
    is_enough: bool,
) -> None:
    device.commands["list"] = installed(models(**there))
    assert run(control, tmp_path, activate=activate).was_installed == is_enough
    assert (device.files == {}) == is_enough


def test_an_upload_that_was_lost_or_damaged_is_sent_again(
    device: ControlledDevice, control: ControlClient, tmp_path: Path
) -> None:
    answers = iter([refuse("unknown_upload"), refuse("upload_digest_mismatch"), ok(RELEASE)])

    def install(request: dict[str, object]) -> list[tuple[str, bytes]]:
        return next(answers)(request)

    device.commands["install"] = install
    assert run(control, tmp_path) == PushResult(RELEASE, was_installed=False)
    assert names(device) == ["list", "install"] * 3


def test_the_third_lost_upload_is_an_error(device: ControlledDevice, control: ControlClient, tmp_path: Path) -> None:
    device.commands["install"] = refuse("unknown_upload")
    with pytest.raises(RemoteError) as caught:
        run(control, tmp_path)
    assert caught.value.device_code == "unknown_upload"
    assert names(device).count("install") == 3


def test_another_refusal_is_final(device: ControlledDevice, control: ControlClient, tmp_path: Path) -> None:
    device.commands["install"] = refuse("signature_untrusted")
    with pytest.raises(RemoteError, match="answered signature_untrusted"):
        run(control, tmp_path)
    assert names(device).count("install") == 1


def test_an_agent_that_restarts_is_asked_whether_it_has_installed_the_package(
    device: ControlledDevice, control: ControlClient, tmp_path: Path
) -> None:
    def restart(_: object) -> list[tuple[str, bytes]]:
        device.announce(session="2")
        return []

    device.commands["install"] = restart
    device.commands["list"] = installed(NOTHING, models(active=RELEASE))
    assert run(control, tmp_path) == PushResult(RELEASE, was_installed=False)
    assert names(device) == ["list", "install", "list"]


def test_an_agent_that_restarts_each_time_is_an_error(
    device: ControlledDevice, control: ControlClient, tmp_path: Path
) -> None:
    sessions = iter("234")

    def restart(_: object) -> list[tuple[str, bytes]]:
        device.announce(session=next(sessions))
        return []

    device.commands["install"] = restart
    with pytest.raises(DeviceRestartedError):
        run(control, tmp_path)

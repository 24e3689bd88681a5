"""The comparison of two releases of a model on a device."""

from __future__ import annotations

from typing import Literal

from drupelet_host.comparison.facts import Comparison, Fact, Facts, Side, make_comparison
from drupelet_shared.contract.commands import InstalledModel, InstalledModels, InstalledRelease
from drupelet_shared.errors import InvalidValueError

Role = Literal["previous", "active", "staged"]


def compare_releases(device: str, installed: InstalledModels, model: str) -> Comparison:
    """Compare the release that runs with the one that waits for `activate`, or else the one before it with it.

    Args:
        device: The device's name.
        installed: What the device has.
        model: The model's name.

    Returns:
        The comparison.

    Raises:
        InvalidValueError: The device does not have the model, or has one release of it.
    """
    found = next((each for each in installed.models if each.model == model), None)
    if found is None:
        names = ", ".join(sorted(each.model for each in installed.models)) or "no model"
        raise InvalidValueError(f"device {device} does not have the model {model!r}: it has {names}")
    releases = _releases(found)
    pair: tuple[Role, Role] = ("active", "staged") if "staged" in releases else ("previous", "active")
    if not set(pair) <= releases.keys():
        held = ", ".join(f"release {release.release} ({role})" for role, release in releases.items()) or "no release"
        raise InvalidValueError(f"device {device} has {held} of {model!r}: two are needed to compare them")
    before, after = (_side(device, role, releases[role]) for role in pair)
    return make_comparison(before, after)


def _releases(model: InstalledModel) -> dict[Role, InstalledRelease]:
    held: dict[Role, InstalledRelease | None] = {
        "previous": model.previous,
        "active": model.active,
        "staged": model.staged,
    }
    return {role: release for role, release in held.items() if release is not None}


def _side(device: str, role: Role, release: InstalledRelease) -> tuple[Side, Facts]:
    side = Side(place=f"{device}, {role}", name=release.model, version=release.version, release=release.release)
    return side, _facts(release)


def _facts(release: InstalledRelease) -> Facts:
    plan = release.plan
    facts = {
        ("release", "version"): Fact(value=release.version),
        ("release", "release"): Fact(value=str(release.release)),
        ("release", "digest"): Fact(value=release.digest[:12]),
        ("release", "signature"): Fact(value=f"key {release.signed_by[:12]}" if release.signed_by else "not checked"),
        ("plan", "variant"): Fact(value=release.variant),
        ("plan", "engine"): Fact(value=plan.engine),
        ("plan", "threads"): Fact(value=plan.threads),
        ("plan", "instances"): Fact(value=plan.instances),
        ("plan", "objective"): Fact(value=plan.objective),
        ("plan", "p50 on the device"): Fact(value=plan.p50_ms, unit="ms"),
        ("plan", "p99 on the device"): Fact(value=plan.p99_ms, unit="ms"),
        ("plan", "memory"): Fact(value=plan.footprint_bytes, unit="bytes"),
        ("plan", "memory budget"): Fact(value=plan.memory_budget_bytes, unit="bytes"),
    }
    if plan.throughput_per_s is not None:
        facts["plan", "inferences per second"] = Fact(value=round(plan.throughput_per_s, 1))
    return facts

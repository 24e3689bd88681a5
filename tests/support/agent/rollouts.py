"""Roll-outs over devices on a broker in memory, which report windows meanwhile."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from drupelet_host.rollout.link import RolloutLink
from drupelet_host.rollout.plan import make_rollout
from drupelet_host.rollout.run import RolloutOutput, run_rollout
from drupelet_host.rollout.state import RolloutSpec, RolloutState
from drupelet_shared.contract.delivery import DesiredPackage, DesiredState
from fakes.mqtt import ADDRESS, FakeBroker
from fakes.rollout_devices import MODEL, RolloutDevice
from support.agent.repeating import repeating

OLD = DesiredState(version="1.0.0", source="https://models.example/digits-1.drupe")
NEW = DesiredPackage(version="2.0.0", source="https://models.example/digits-2.drupe?token=secret")
NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


def make_fleet(broker: FakeBroker, count: int, **settings: object) -> dict[str, RolloutDevice]:
    return {f"pi-{number}": RolloutDevice(broker, f"pi-{number}", **settings) for number in range(count)}


def make_spec(**settings: object) -> RolloutSpec:
    values = {"waves": "1,50%,100%", "healthy_for_s": 0.05, "timeout_s": 900.0, "baseline_s": 20.0, **settings}
    return RolloutSpec.model_validate({"model": MODEL, "target": NEW, **values})


@contextmanager
def connected(broker: FakeBroker) -> Iterator[RolloutLink]:
    with RolloutLink(MODEL, broker=ADDRESS, transport_factory=broker.connect) as link:
        # The broker in memory sends what it has retained before the subscription returns.
        link.wait_until_known(quiet_s=0.0)
        yield link


def run(
    broker: FakeBroker,
    fleet: dict[str, RolloutDevice],
    spec: RolloutSpec,
    path: Path,
    *,
    on_progress: Callable[[RolloutState], None] = lambda _: None,
    refresh_s: float = 30.0,
) -> RolloutState:
    """Plan a roll-out and run it to its end, while the devices report windows."""
    with telling(fleet), connected(broker) as link:
        state = link.read(lambda devices, _: make_rollout(spec, devices, by="anna@desk", now=NOW))
        output = RolloutOutput(path, None, on_progress)
        run_rollout(state, link, output, poll_s=0.01, settle_s=0.2, refresh_s=refresh_s)
    return state


@contextmanager
def telling(fleet: dict[str, RolloutDevice]) -> Iterator[None]:
    def tell() -> None:
        for device in fleet.values():
            device.tell()

    with repeating(tell, every_s=0.02):
        yield

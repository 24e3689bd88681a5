"""Roll-outs among devices that lie, strangers that announce themselves, a second operator and changed records."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from drupelet_host.rollout.plan import recover_rollout
from drupelet_host.rollout.records import make_record
from drupelet_host.rollout.state import RolloutState
from drupelet_shared.contract.delivery import DesiredState, RolloutMark
from drupelet_shared.contract.topics import DeviceTopics
from drupelet_shared.errors import InvalidValueError
from fakes.mqtt import FakeBroker
from fakes.rollout_devices import MODEL
from support.agent.fleets import birth
from support.agent.rollouts import NEW, NOW, connected, make_fleet, make_spec, run


@pytest.fixture
def broker() -> FakeBroker:
    return FakeBroker()


def test_a_roll_out_that_another_one_takes_over_is_held_and_rolls_nothing_back(
    broker: FakeBroker, tmp_path: Path
) -> None:
    fleet = make_fleet(broker, 4)
    # Of an earlier roll-out, as on any device that had one.
    for device in fleet.values():
        broker.publish(device.topics.desired(MODEL), marked("earlier", "1.0.0").to_bytes(), retain=True)
    taken: list[str] = []

    def take_over(state: RolloutState) -> None:
        if state.current_wave is not None and state.current_wave.number == 2 and not taken:
            taken.append(next(name for name, entry in state.devices.items() if entry.wave == 1))
            topic = DeviceTopics(taken[0]).desired(MODEL)
            broker.publish(topic, marked("other", "3.0.0").to_bytes(), retain=True)

    state = run(broker, fleet, make_spec(), tmp_path / "r.json", on_progress=take_over)
    assert state.phase == "held"
    assert f"roll-out other has replaced the desired state of {taken[0]}" in (state.reason or "")
    assert fleet[taken[0]].version == "3.0.0"
    assert not any("rollback" in line for device in fleet.values() for line in device.log)


def marked(rollout: str, version: str) -> DesiredState:
    mark = RolloutMark(id=rollout, wave=1)
    return DesiredState(version=version, source="https://models.example/digits.drupe", rollout=mark)


@pytest.mark.parametrize("name", ["bad name", "a*b", "é", "x" * 65, "rollouts", "clients", "pool"])
def test_whoever_announces_itself_under_an_impossible_name_is_no_device(
    broker: FakeBroker, tmp_path: Path, name: str
) -> None:
    fleet = make_fleet(broker, 2)
    broker.publish(f"drupelet/v1/{name}/status", birth("pi-1").payload, retain=True)
    state = run(broker, fleet, make_spec(), tmp_path / "r.json")
    assert (state.phase, len(state.order)) == ("completed", 2)


LIES = [{"ok": -5, "inference_failed": 10}, {"ok": 10**400}, {"inference_failed": 10**400}]


@pytest.mark.parametrize("outcomes", LIES)
def test_a_device_with_impossible_numbers_is_not_counted_and_ends_nothing(
    broker: FakeBroker, tmp_path: Path, outcomes: dict[str, int]
) -> None:
    fleet = make_fleet(broker, 2)
    liar = fleet["pi-0"]
    telemetry = {"model": MODEL, "version": "2.0.0", "variant": "v", "window_s": 1, "outcomes": outcomes}

    def lie(_: RolloutState) -> None:
        broker.publish(liar.topics.model_telemetry(MODEL), json.dumps(telemetry).encode())

    state = run(broker, fleet, make_spec(gate="errors<1%"), tmp_path / "r.json", on_progress=lie)
    assert (state.phase, state.reason) == ("completed", None)


@pytest.mark.parametrize("change", [{"waves": "none"}, {"parallel": 0}, {"selection": 7}, {"gate": ["errors"]}])
def test_a_record_that_somebody_changed_is_not_resumed(
    broker: FakeBroker, tmp_path: Path, change: dict[str, object]
) -> None:
    fleet = make_fleet(broker, 2)
    state = run(broker, fleet, make_spec(), tmp_path / "r.json")
    record = make_record(state, now=NOW)
    changed = record.model_copy(update={"request": {**record.request, **change}})
    with connected(broker) as link, pytest.raises(InvalidValueError, match=r"malformed|waves"):
        link.read(lambda devices, _: recover_rollout(changed, devices, source=NEW.source))

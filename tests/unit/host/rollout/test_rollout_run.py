"""Roll-outs over devices on a broker in memory: waves, gates, roll-back, resumption, records."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from drupelet_host.errors import BrokerError
from drupelet_host.packaging.keys import generate_key_pair, load_private_key
from drupelet_host.rollout.link import read_record, read_records
from drupelet_host.rollout.observation import Observations
from drupelet_host.rollout.plan import make_rollout, recover_rollout
from drupelet_host.rollout.records import check_record, load_state
from drupelet_host.rollout.run import RolloutOutput, run_rollout
from drupelet_host.rollout.selection import Selection
from drupelet_host.rollout.state import RolloutState
from drupelet_shared.contract.delivery import DeliveryState
from drupelet_shared.contract.topics import DeviceTopics
from drupelet_shared.errors import InvalidValueError
from fakes.mqtt import ADDRESS, FakeBroker
from fakes.rollout_devices import MODEL, RolloutDevice
from support.agent.fleets import birth
from support.agent.rollouts import NEW, NOW, OLD, connected, make_fleet, make_spec, run, telling


def resume(broker: FakeBroker, fleet: dict[str, RolloutDevice], path: Path) -> RolloutState:
    state = load_state(path)
    state.reopen()
    with telling(fleet), connected(broker) as link:
        run_rollout(state, link, RolloutOutput(path, None, lambda _: None), poll_s=0.01, settle_s=0.2)
    return state


def versions(fleet: dict[str, RolloutDevice]) -> list[str | None]:
    return sorted(device.version or "" for device in fleet.values())


@pytest.fixture
def broker() -> FakeBroker:
    return FakeBroker()


def test_every_device_gets_the_version_wave_by_wave(broker: FakeBroker, tmp_path: Path) -> None:
    fleet = make_fleet(broker, 6)
    largest: dict[int, int] = {}

    def observe(state: RolloutState) -> None:
        wave = state.current_wave
        if wave is not None:
            written = sum("desired 2.0.0" in device.log for device in fleet.values())
            largest[wave.number] = max(largest.get(wave.number, 0), written)

    state = run(broker, fleet, make_spec(gate="errors<1%, p99<1.2x"), tmp_path / "r.json", on_progress=observe)
    assert (state.phase, state.reason) == ("completed", None)
    assert versions(fleet) == ["2.0.0"] * 6
    assert largest == {1: 1, 2: 3, 3: 6}
    assert [wave.phase for wave in state.waves] == ["passed"] * 3
    desired = fleet["pi-0"].desired
    assert desired is not None
    assert desired.rollout is not None
    assert (desired.source, desired.rollout.id) == (NEW.source, state.id)


def test_a_state_that_the_broker_dropped_on_its_way_is_read_again(broker: FakeBroker, tmp_path: Path) -> None:
    fleet = make_fleet(broker, 6)
    broker.dropped = lambda message: message.topic.endswith("/state") and b'"2.0.0"' in message.payload
    state = run(broker, fleet, make_spec(), tmp_path / "r.json", refresh_s=0.1)
    assert (state.phase, state.reason) == ("completed", None)
    assert versions(fleet) == ["2.0.0"] * 6


def test_a_failure_that_is_read_again_is_as_old_as_when_it_was_first_read() -> None:
    observations, topics = Observations(prefix="drupelet/v1", model=MODEL), DeviceTopics("pi-1")
    failed = DeliveryState(model=MODEL, state="failed", version="2.0.0", code="rolled_back", error="before").to_bytes()
    observations.receive(topics.status, birth("pi-1").payload, at_s=0.0, is_retained=True)
    device = observations.devices["pi-1"]
    for at_s, is_retained, arrived_s in ((1.0, True, 1.0), (9.0, True, 1.0), (12.0, False, 12.0), (15.0, True, 12.0)):
        observations.receive(topics.delivery(MODEL), failed, at_s=at_s, is_retained=is_retained)
        assert device.delivery_at_s == arrived_s


def test_devices_that_have_the_version_and_those_not_selected_are_left_alone(
    broker: FakeBroker, tmp_path: Path
) -> None:
    fleet = make_fleet(broker, 2, labels={"site": "berlin"})
    fleet["done"] = RolloutDevice(broker, "done", labels={"site": "berlin"}, version="2.0.0")
    fleet["other"] = RolloutDevice(broker, "other", labels={"site": "paris"})
    fleet["bare"] = RolloutDevice(broker, "bare")
    spec = make_spec(selection=Selection(labels=("site=berlin",)))
    state = run(broker, fleet, spec, tmp_path / "r.json")
    assert (state.phase, len(state.order), state.up_to_date) == ("completed", 2, 1)
    assert [fleet[name].log for name in ("done", "other", "bare")] == [[], [], []]
    nowhere = make_spec(selection=Selection(names=("cam-*",)))
    with connected(broker) as link, pytest.raises(InvalidValueError, match="none of the 5 devices"):
        link.read(lambda devices, _: make_rollout(nowhere, devices, by="anna", now=NOW))


def test_a_device_that_refuses_stops_the_roll_out_and_its_wave_goes_back(broker: FakeBroker, tmp_path: Path) -> None:
    fleet = make_fleet(broker, 10)
    for device in fleet.values():
        broker.publish(device.topics.desired(MODEL), OLD.to_bytes(), retain=True)
    with connected(broker) as link:
        order = link.read(lambda devices, _: make_rollout(make_spec(), devices, by="a", now=NOW)).order
    refusing = fleet[order[3]]
    refusing.refuses = "signature_untrusted"
    state = run(broker, fleet, make_spec(), tmp_path / "r.json")
    assert state.phase == "stopped"
    assert "wave 2: failed<=0%: failed" in (state.reason or "")
    assert f"{refusing.name}: refused [signature_untrusted]" in (state.reason or "")
    # The first wave keeps the version, the second has gone back, the third was never touched.
    assert versions(fleet) == ["1.0.0"] * 9 + ["2.0.0"]
    for name in order[1:5]:
        assert fleet[name].desired == OLD, name
    for name in order[5:]:
        assert fleet[name].log == ["desired 1.0.0"]


def test_a_stopped_roll_out_goes_on_where_it_was_stopped(broker: FakeBroker, tmp_path: Path) -> None:
    fleet = make_fleet(broker, 10)
    with connected(broker) as link:
        order = link.read(lambda devices, _: make_rollout(make_spec(), devices, by="a", now=NOW)).order
    fleet[order[3]].refuses = "signature_untrusted"
    path = tmp_path / "r.json"
    assert run(broker, fleet, make_spec(), path).phase == "stopped"
    first = list(fleet[order[0]].log)
    fleet[order[3]].refuses = None
    state = resume(broker, fleet, path)
    assert state.phase == "completed"
    assert versions(fleet) == ["2.0.0"] * 10
    assert fleet[order[0]].log == first
    # A device does not install again what was rolled back there, so it was asked to activate it.
    went_back = next(fleet[name] for name in order[1:5] if "rollback 2" in fleet[name].log)
    assert "activate 2" in went_back.log


def test_a_release_that_fails_on_a_device_is_rolled_back_there(broker: FakeBroker, tmp_path: Path) -> None:
    fleet = make_fleet(broker, 1, breaks=True)
    state = run(broker, fleet, make_spec(), tmp_path / "r.json")
    assert state.phase == "stopped"
    assert "its workers died 3 times [model_unavailable]" in (state.reason or "")
    assert fleet["pi-0"].log == ["desired 2.0.0", "rollback 2", "cleared"]
    assert state.devices["pi-0"].phase == "rolled_back"


def test_a_device_without_an_earlier_release_keeps_what_it_has(broker: FakeBroker, tmp_path: Path) -> None:
    fleet = make_fleet(broker, 1, version=None, outcomes={"2.0.0": {"ok": 1, "inference_failed": 99}})
    state = run(broker, fleet, make_spec(gate="errors<1%"), tmp_path / "r.json")
    assert (state.phase, state.devices["pi-0"].phase) == ("stopped", "kept")
    assert fleet["pi-0"].log == ["desired 2.0.0", "cleared"]


@pytest.mark.parametrize(
    ("gate", "settings", "reason"),
    [
        ("errors<1%", {"outcomes": {"2.0.0": {"ok": 45, "inference_failed": 5}}}, "errors<1%: failed with 10 %"),
        ("p99<1.2x", {"p99_ms": {"2.0.0": 15.0}}, "p99<1.2x: failed with 1.50x"),
        ("p99<12ms", {"p99_ms": {"2.0.0": 15.0}}, "p99<12ms: failed with 15 ms"),
    ],
)
def test_the_devices_telemetry_stops_a_roll_out(
    broker: FakeBroker, tmp_path: Path, gate: str, settings: dict[str, Any], reason: str
) -> None:
    fleet = make_fleet(broker, 4, **settings)
    state = run(broker, fleet, make_spec(gate=gate), tmp_path / "r.json")
    assert state.phase == "stopped"
    assert reason in (state.reason or "")
    assert versions(fleet) == ["1.0.0"] * 4


def test_malformed_requests_of_clients_are_no_errors_of_a_release(broker: FakeBroker, tmp_path: Path) -> None:
    fleet = make_fleet(broker, 2, outcomes={"2.0.0": {"ok": 1, "invalid_request": 99}})
    assert run(broker, fleet, make_spec(gate="errors<1%"), tmp_path / "r.json").phase == "completed"


def test_without_requests_a_roll_out_is_held_or_passes_as_told(broker: FakeBroker, tmp_path: Path) -> None:
    fleet = make_fleet(broker, 2, outcomes={"1.0.0": {}, "2.0.0": {}})
    held = run(broker, fleet, make_spec(gate="errors<1%"), tmp_path / "r.json")
    assert held.phase == "held"
    assert "undecided" in (held.reason or "")
    # Nothing is rolled back, and nothing goes on.
    assert versions(fleet) == ["1.0.0", "2.0.0"]
    passed = run(broker, fleet, make_spec(gate="errors<1%", idle="pass"), tmp_path / "s.json")
    assert passed.phase == "completed"


def test_devices_that_are_offline_get_the_version_when_they_return(broker: FakeBroker, tmp_path: Path) -> None:
    fleet = make_fleet(broker, 3)
    fleet["away"] = RolloutDevice(broker, "away", is_online=False)
    state = run(broker, fleet, make_spec(), tmp_path / "r.json")
    assert (state.phase, state.later) == ("completed", ["away"])
    assert fleet["away"].version == "1.0.0"
    fleet["away"].come_back()
    assert fleet["away"].version == "2.0.0"


def test_devices_that_are_offline_are_skipped_as_told(broker: FakeBroker, tmp_path: Path) -> None:
    fleet = make_fleet(broker, 3)
    fleet["away"] = RolloutDevice(broker, "away", is_online=False)
    state = run(broker, fleet, make_spec(offline="skip"), tmp_path / "r.json")
    assert (state.phase, state.skipped, fleet["away"].log) == ("completed", ["away"], [])


def test_devices_that_are_offline_get_nothing_of_a_roll_out_that_stops(broker: FakeBroker, tmp_path: Path) -> None:
    fleet = make_fleet(broker, 2, refuses="wrong_target")
    fleet["gone"] = RolloutDevice(broker, "gone", is_online=False)
    assert run(broker, fleet, make_spec(), tmp_path / "r.json").phase == "stopped"
    assert fleet["gone"].log == []


def test_a_device_that_goes_offline_with_the_version_has_failed(broker: FakeBroker, tmp_path: Path) -> None:
    fleet = make_fleet(broker, 1)

    def leave(_: RolloutState) -> None:
        if fleet["pi-0"].version == "2.0.0" and fleet["pi-0"].is_online:
            fleet["pi-0"].leave()

    state = run(broker, fleet, make_spec(healthy_for_s=0.3, timeout_s=0.3), tmp_path / "r.json", on_progress=leave)
    assert state.phase == "stopped"
    assert "went offline" in (state.reason or "")
    assert state.devices["pi-0"].phase == "rollback_pending"


def test_no_more_devices_than_allowed_fetch_at_the_same_time(broker: FakeBroker, tmp_path: Path) -> None:
    fleet = make_fleet(broker, 8)
    largest = 0

    def observe(state: RolloutState) -> None:
        nonlocal largest
        largest = max(largest, sum(entry.phase == "delivering" for entry in state.devices.values()))

    state = run(broker, fleet, make_spec(waves="100%", parallel=3), tmp_path / "r.json", on_progress=observe)
    assert state.phase == "completed"
    assert largest == 3


class EndedError(Exception):
    """Ends a roll-out in the middle."""


def test_an_interrupted_roll_out_goes_on_from_its_file(broker: FakeBroker, tmp_path: Path) -> None:
    fleet, path = make_fleet(broker, 6), tmp_path / "r.json"

    def interrupt(_: RolloutState) -> None:
        if sum(device.version == "2.0.0" for device in fleet.values()) == 3:
            raise EndedError

    with pytest.raises(EndedError):
        run(broker, fleet, make_spec(), path, on_progress=interrupt)
    assert path.stat().st_mode & 0o077 == 0
    state = resume(broker, fleet, path)
    assert (state.phase, versions(fleet)) == ("completed", ["2.0.0"] * 6)


def test_a_roll_out_goes_on_from_what_the_broker_has_retained(broker: FakeBroker, tmp_path: Path) -> None:
    fleet = make_fleet(broker, 6)
    for device in fleet.values():
        broker.publish(device.topics.desired(MODEL), OLD.to_bytes(), retain=True)

    def interrupt(_: RolloutState) -> None:
        if sum(device.version == "2.0.0" for device in fleet.values()) == 3:
            raise EndedError

    with pytest.raises(EndedError):
        run(broker, fleet, make_spec(gate="errors<1%"), tmp_path / "r.json", on_progress=interrupt)
    ((rollout, payload),) = read_records(ADDRESS, transport_factory=broker.connect).items()
    signed = read_record(payload)
    assert signed is not None
    assert b"secret" not in payload
    with telling(fleet), connected(broker) as link:
        state = link.read(lambda devices, _: recover_rollout(signed.record, devices, source=None))
        assert (state.id, state.spec.target, state.spec.gate) == (rollout, NEW, "errors<1%")
        assert len(state.order) == 6
        assert {entry.previous for entry in state.devices.values()} == {OLD.package}
        state.reopen()
        run_rollout(state, link, RolloutOutput(tmp_path / "s.json", None, lambda _: None), poll_s=0.01, settle_s=0.2)
    assert (state.phase, versions(fleet)) == ("completed", ["2.0.0"] * 6)


def test_the_record_on_the_broker_says_what_was_done_and_is_signed(broker: FakeBroker, tmp_path: Path) -> None:
    fleet = make_fleet(broker, 2)
    trusted, stranger = (generate_key_pair(tmp_path / name) for name in ("maker", "stranger"))
    with telling(fleet), connected(broker) as link:
        state = link.read(lambda devices, _: make_rollout(make_spec(), devices, by="anna@desk", now=NOW))
        output = RolloutOutput(tmp_path / "r.json", load_private_key(tmp_path / "maker.key"), lambda _: None)
        run_rollout(state, link, output, poll_s=0.01, settle_s=0.2)
    ((rollout, payload),) = read_records(ADDRESS, transport_factory=broker.connect).items()
    signed = read_record(payload)
    assert signed is not None
    record = signed.record
    assert (record.id, record.by, record.phase, record.started) == (rollout, "anna@desk", "completed", NOW)
    assert [(wave.devices, wave.healthy, wave.phase) for wave in record.waves] == [(1, 1, "passed")] * 2
    assert check_record(payload, (trusted,)) == ("valid", trusted.id)
    assert check_record(payload, None) == ("not checked", trusted.id)
    assert check_record(payload, (stranger,))[0] == "untrusted"
    assert check_record(payload.replace(b"anna@desk", b"eva@desk"), (trusted,))[0] == "invalid"


def test_a_broker_that_refuses_a_desired_state_ends_the_roll_out(broker: FakeBroker, tmp_path: Path) -> None:
    fleet = make_fleet(broker, 2)
    broker.refused = lambda message: "Not authorized" if message.topic.endswith("/desired") else None
    with pytest.raises(BrokerError, match=r"/desired: Not authorized"):
        run(broker, fleet, make_spec(), tmp_path / "r.json")
    assert load_state(tmp_path / "r.json").phase == "running"

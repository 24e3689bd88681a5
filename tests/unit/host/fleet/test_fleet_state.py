from __future__ import annotations

import dataclasses
import json
import random
import re

import pytest
from rich.console import Console, RenderableType

from drupelet_host.fleet.details import render_device
from drupelet_host.fleet.rows import SORT_KEYS, Row, RowCache, SortOrder, filter_rows, make_rows, sort_rows
from drupelet_host.fleet.sparkline import draw_sparkline
from drupelet_host.fleet.state import MAX_WINDOWS, MIN_WINDOWS, Fleet
from drupelet_host.fleet.summary import Overview
from drupelet_host.fleet.table import make_table
from drupelet_shared.contract.topics import DeviceTopics, FleetTopics
from drupelet_shared.errors import InvalidValueError
from support.agent.fleets import (
    Announced,
    SimulatedFleet,
    birth,
    device_window,
    history,
    limit_crossed,
    model_state,
    model_window,
)


def fleet_of(*messages: Announced, at_s: float = 0.0) -> Fleet:
    fleet = Fleet(FleetTopics())
    for message in messages:
        fleet.receive(message.topic, message.payload, at_s=at_s)
    return fleet


def only_row(fleet: Fleet, *, now_s: float = 0.0) -> Row:
    (row,) = make_rows(fleet, now_s=now_s)
    return row


def printed(renderable: RenderableType) -> str:
    console = Console(width=200, force_terminal=False)
    with console.capture() as capture:
        console.print(renderable)
    return capture.get()


def test_a_row_says_what_the_device_said() -> None:
    row = only_row(
        fleet_of(
            birth("pi-1"),
            model_state("pi-1"),
            device_window("pi-1", throttling=("throttled", "under_voltage_occurred")),
            model_window("pi-1", ok=38, overloaded=2),
        )
    )
    assert row == Row(
        device="pi-1",
        connection="online",
        model="digits",
        version="1.2.0",
        health="ready",
        variant="ort-static-wi8-ai8",
        plan="1 x 2 threads",
        requests_per_s=4.0,
        p50_ms=4.0,
        p99_ms=8.0,
        error_rate=pytest.approx(0.05),
        temperature_celsius=51.6,
        throttling=("throttled",),
        throttled_before=True,
        memory_used=0.25,
        p99_trend_ms=(8.0,),
    )


def test_the_order_of_messages_does_not_matter_to_what_they_come_to() -> None:
    messages = [birth("pi-1"), model_state("pi-1"), device_window("pi-1"), model_window("pi-1")]
    assert only_row(fleet_of(*messages)) == only_row(fleet_of(*reversed(messages)))


def test_a_device_that_is_offline_has_no_numbers() -> None:
    fleet = fleet_of(birth("pi-1"), model_state("pi-1"), device_window("pi-1"), model_window("pi-1"))
    status = birth("pi-1", state="offline")
    fleet.receive(status.topic, status.payload, at_s=1.0)
    row = only_row(fleet)
    assert (row.connection, row.health, row.variant) == ("offline", "ready", "ort-static-wi8-ai8")
    assert row.requests_per_s is row.p99_ms is row.temperature_celsius is row.memory_used is None


def test_a_will_of_an_earlier_run_is_ignored() -> None:
    fleet = fleet_of(birth("pi-1", session="new"))
    late = birth("pi-1", state="offline", session="old")
    assert fleet.receive(late.topic, late.payload, at_s=0.0) is None
    assert only_row(fleet).connection == "online"


def test_numbers_end_four_windows_after_the_last() -> None:
    fleet = fleet_of(birth("pi-1"), model_state("pi-1"), device_window("pi-1"), model_window("pi-1", window_s=20.0))
    assert only_row(fleet, now_s=40.0).connection == "online"
    late = only_row(fleet, now_s=41.0)
    assert (late.connection, late.temperature_celsius) == ("silent", None)
    assert late.requests_per_s == 2.0
    assert only_row(fleet, now_s=81.0).requests_per_s is None


def test_a_devices_own_clock_says_how_often_it_tells() -> None:
    fleet = fleet_of(birth("pi-1"), device_window("pi-1", uptime_s=100.0), device_window("pi-1", uptime_s=160.0))
    assert only_row(fleet, now_s=239.0).connection == "online"
    assert only_row(fleet, now_s=241.0).connection == "silent"


def test_a_window_without_requests_is_no_error_and_no_latency() -> None:
    empty = model_window("pi-1", ok=0)
    payload = empty.payload.replace(b'"total":{', b'"gone":{')
    fleet = fleet_of(birth("pi-1"), Announced(empty.topic, payload))
    row = only_row(fleet)
    assert (row.requests_per_s, row.error_rate, row.p99_ms) == (0.0, 0.0, None)


def test_a_device_without_models_has_a_row() -> None:
    assert only_row(fleet_of(birth("pi-1"))).model is None


def test_a_device_that_only_told_of_a_model_is_unknown() -> None:
    assert only_row(fleet_of(model_state("pi-1"))).connection == "unknown"


@pytest.mark.parametrize("taken_back", [model_state("pi-1", health="removed").payload, b""])
def test_a_model_that_is_removed_leaves(taken_back: bytes) -> None:
    fleet = fleet_of(
        birth("pi-1"), model_state("pi-1"), Announced(DeviceTopics("pi-1").model_state("digits"), taken_back)
    )
    assert only_row(fleet).model is None


def test_a_device_whose_status_is_taken_back_leaves() -> None:
    fleet = fleet_of(birth("pi-1"), model_state("pi-1"), Announced(DeviceTopics("pi-1").status, b""))
    assert make_rows(fleet, now_s=0.0) == []


@pytest.mark.parametrize("payload", [b"{", b"[]", b'{"state": "asleep"}', b"\xff"])
def test_a_malformed_message_is_counted_and_changes_nothing(payload: bytes) -> None:
    fleet = fleet_of(Announced(DeviceTopics("pi-1").status, payload))
    assert fleet.malformed == 1
    assert make_rows(fleet, now_s=0.0) == []


@pytest.mark.parametrize(
    "topic",
    [
        "drupelet/v1/pi-1/infer/digits",
        "drupelet/v1/pi-1/result/digits",
        "drupelet/v1/pi-1/models/digits/state/more",
        "drupelet/v2/pi-1/status",
        "drupelet/v1/bad name/status",
        "drupelet/v1/pi-1/status\n",
    ],
)
def test_other_topics_have_no_effect(topic: str) -> None:
    fleet = fleet_of(Announced(topic, b"{}"))
    assert fleet.malformed == 0
    assert not fleet.devices


def test_a_fleet_is_found_under_another_prefix() -> None:
    topics = FleetTopics(prefix="site.a/edge/")
    assert topics.filters[0] == "site.a/edge/+/status"
    found = topics.parse("site.a/edge/pi-1/telemetry/models/digits")
    assert found is not None
    assert (found.kind, found.device, found.model) == ("model_telemetry", "pi-1", "digits")
    assert topics.parse("siteXa/edge/pi-1/status") is None


def test_alerts_are_events_that_were_raised_and_not_cleared() -> None:
    assert only_row(fleet_of(birth("pi-1"), limit_crossed("pi-1"))).alerts == 1
    cleared = fleet_of(birth("pi-1"), limit_crossed("pi-1"), limit_crossed("pi-1", state="cleared", value=70.0))
    assert only_row(cleared).alerts == 0


def test_a_model_keeps_a_bounded_number_of_windows() -> None:
    fleet = fleet_of(birth("pi-1"), *[model_window("pi-1")] * (MAX_WINDOWS + 5))
    assert len(fleet.devices["pi-1"].models["digits"].windows) == MAX_WINDOWS


def test_the_trend_is_that_of_the_devices_history_and_otherwise_of_the_windows_since_this_reader_connected() -> None:
    told = [birth("pi-1"), model_window("pi-1", p50_ms=2.0), model_window("pi-1", p50_ms=3.0)]
    assert only_row(fleet_of(*told)).p99_trend_ms == (4.0, 6.0)
    points = [float(number) for number in range(25)]
    for messages in ([*told, history("pi-1", p99_ms=points)], [history("pi-1", p99_ms=points), *told]):
        assert only_row(fleet_of(*messages)).p99_trend_ms == tuple(points[-20:])


def test_the_trend_is_there_before_the_first_window_of_an_online_device_and_without_history_it_is_empty() -> None:
    announced = [birth("pi-1"), model_state("pi-1")]
    assert only_row(fleet_of(*announced, history("pi-1", p99_ms=[1.0, 2.0]))).p99_trend_ms == (1.0, 2.0)
    assert only_row(fleet_of(*announced)).p99_trend_ms == ()
    offline = [birth("pi-1", state="offline"), model_state("pi-1"), history("pi-1", p99_ms=[1.0, 2.0])]
    assert only_row(fleet_of(*offline)).p99_trend_ms == ()


def test_a_history_alone_announces_no_device_and_leaves_with_the_status() -> None:
    gone = Announced(DeviceTopics("pi-1").status, b"")
    assert not fleet_of(history("pi-1")).devices
    back = fleet_of(birth("pi-1"), history("pi-1"), gone, birth("pi-1"))
    assert back.devices["pi-1"].history is None


def test_the_means_of_the_stages_and_the_rest_add_up_in_the_details() -> None:
    fleet = fleet_of(birth("pi-1"), model_state("pi-1"), model_window("pi-1", p50_ms=10.0))
    lines = printed(render_device(fleet.devices["pi-1"], 0.0)).splitlines()
    means = {line.split()[0]: line.split()[2] for line in lines if re.match(r"(inference|rest|total) ", line)}
    assert means == {"inference": "10.0", "rest": "1.00", "total": "11.0"}


def simulated_rows(count: int = 40) -> list[Row]:
    simulated = SimulatedFleet(count)
    return make_rows(fleet_of(*simulated.introduce(), *simulated.tell()), now_s=0.0)


@pytest.mark.parametrize("seed", range(20))
def test_rows_that_are_kept_are_those_that_would_be_made_anew_whatever_arrives_and_becomes_stale(seed: int) -> None:
    generator, fleet, cache, now_s = random.Random(seed), Fleet(FleetTopics()), RowCache(), 0.0
    removed = [Announced(DeviceTopics(device).status, b"") for device in ("pi-1", "pi-2")] + [
        Announced(DeviceTopics("pi-3").model_state("digits"), b"")
    ]
    for _ in range(60):
        device = f"pi-{generator.randrange(5)}"
        message = generator.choice(
            [
                birth(device),
                birth(device, state="offline"),
                birth(device, labels={"site": "berlin"}),
                model_state(device, generator.choice(["digits", "detector"])),
                model_window(device, window_s=generator.choice([1.0, 10.0, 60.0]), ok=generator.randrange(50)),
                device_window(device, uptime_s=now_s + 100.0, celsius=generator.uniform(40.0, 90.0)),
                limit_crossed(device, state=generator.choice(["raised", "cleared"])),
                history(device),
                *removed,
            ]
        )
        fleet.receive(message.topic, message.payload, at_s=now_s)
        now_s += generator.choice([0.0, 0.1, 5.0, 40.0])
        assert cache.make_rows(fleet, now_s=now_s) == make_rows(fleet, now_s=now_s)


def test_the_row_of_a_device_that_nothing_has_changed_is_not_made_again() -> None:
    fleet, cache = fleet_of(birth("pi-1"), birth("pi-2"), device_window("pi-2")), RowCache()
    before = cache.make_rows(fleet, now_s=0.0)
    message = model_state("pi-2")
    fleet.receive(message.topic, message.payload, at_s=1.0)
    after = cache.make_rows(fleet, now_s=1.0)
    assert after[0] is before[0]
    assert after[1].model == "digits"


@pytest.mark.parametrize("key", SORT_KEYS)
def test_rows_are_sorted_by_every_key_and_the_unknown_come_last(key: str) -> None:
    rows = simulated_rows()
    for order in (SortOrder.by(key), SortOrder.by(key).reversed()):
        values = [getattr(row, key) for row in sort_rows(rows, order)]
        known = [value for value in values if value is not None]
        assert values[: len(known)] == known
        comparable = [len(value) if isinstance(value, tuple) else value for value in known]
        assert comparable == sorted(comparable, reverse=order.reverse)


def test_what_people_look_for_comes_first() -> None:
    assert SortOrder.by("p99_ms").reverse
    assert not SortOrder.by("device").reverse
    with pytest.raises(InvalidValueError, match="sort 'speed': expected one of device, connection"):
        SortOrder.by("speed")


def test_a_filter_wants_each_of_its_words_somewhere() -> None:
    rows = simulated_rows()
    assert {row.device for row in filter_rows(rows, "PI-001 det")} == {"pi-001"}
    assert {row.health for row in filter_rows(rows, "failed")} == {"failed"}
    assert all(row.throttling for row in filter_rows(rows, "throttled"))
    assert filter_rows(rows, "  ") == rows
    assert filter_rows(rows, "nothing-like-it") == []


def test_the_summary_counts_what_is_there() -> None:
    simulated = SimulatedFleet(40)
    summary = Overview.of(fleet_of(*simulated.introduce(), *simulated.tell()), 0.0).summary
    assert (summary.devices, summary.online, summary.models) == (40, 38, 60)
    # Two are offline with three models, and two have models that failed.
    assert summary.ready == 60 - 4 - 3
    assert summary.alerts == 2


def test_the_printed_table_has_the_words_of_each_row() -> None:
    lines = printed(make_table(simulated_rows())).splitlines()
    assert lines[0].split()[:5] == ["device", "status", "model", "health", "variant"]
    hot = next(line for line in lines if line.startswith("pi-005"))
    assert "throttled" in hot
    assert "°C" in hot
    assert next(line for line in lines if line.startswith("pi-019")).split()[1] == "offline"


def test_a_narrow_table_names_the_columns_that_it_has_no_room_for() -> None:
    lines = printed(make_table(simulated_rows(), width=80)).splitlines()
    assert lines[0].split() == ["device", "model", "health", "req/s", "p50", "p99", "trend", "errors"]
    assert max(len(line) for line in lines[:-2]) <= 80
    told = " ".join(" ".join(lines[-2:]).split())
    assert told.endswith("In a wider window: status, variant, plan, temp, memory, throttled, alerts.")


def test_the_details_say_why_a_model_failed_and_what_happened() -> None:
    text = "worker \x1b[31mdied[/]"
    fleet = fleet_of(
        birth("pi-1"),
        device_window("pi-1"),
        limit_crossed("pi-1"),
        model_state("pi-1", health="failed", error=text),
        model_window("pi-1", ok=10, overloaded=30),
    )
    shown = printed(render_device(fleet.devices["pi-1"], 0.0))
    assert "worker �[31mdied[/]" in shown
    assert "raised temperature: the processor has 82.5 °C" in shown
    assert "4.0 requests/s, 75 % errors  ok 10, overloaded 30" in shown
    assert "lowest p99 of those that fit" in shown


@pytest.mark.parametrize(
    ("values", "drawn"),
    [
        ([], ""),
        ([0.0, 0.0], "▁▁"),
        ([1.0, 2.0, 8.0], "▂▃█"),
        ([None, 4.0, None, 8.0], " ▅ █"),
        ([100.0, 1.0, 2.0, 4.0], "▃▅█"),
    ],
)
def test_a_sparkline_has_a_block_for_each_of_the_last_values(values: list[float | None], drawn: str) -> None:
    assert draw_sparkline(values, width=4 if len(values) < 4 or None in values else 3) == drawn


def test_every_field_of_a_row_can_be_sent_as_json() -> None:
    row = simulated_rows()[0]
    assert row.to_json().keys() == {field.name for field in dataclasses.fields(Row)}


def test_a_large_fleet_keeps_fewer_windows_of_each_model_and_never_fewer_than_a_trend_shows() -> None:
    fleet = fleet_of(*(birth(f"pi-{number}") for number in range(4000)))
    for at_s in range(MAX_WINDOWS):
        message = model_window("pi-1")
        fleet.receive(message.topic, message.payload, at_s=float(at_s))
    assert len(fleet.devices["pi-1"].models["digits"].windows) == 50
    assert MIN_WINDOWS == 20


HUGE = 10**400


def changed(message: Announced, **fields: object) -> Announced:
    return dataclasses.replace(message, payload=json.dumps({**json.loads(message.payload), **fields}).encode())


@pytest.mark.parametrize("count", [HUGE, -1])
def test_impossible_numbers_of_one_device_are_malformed_and_the_others_are_shown(count: int) -> None:
    window = changed(model_window("pi-1"), outcomes={"ok": count})
    fleet = fleet_of(birth("pi-1"), birth("pi-2"), window, model_window("pi-2", ok=40))
    assert fleet.malformed == 1
    assert {row.device for row in make_rows(fleet, now_s=0.0)} == {"pi-1", "pi-2"}


@pytest.mark.parametrize("field", ["uptime_s", "cpu_percent", "memory_total_bytes", "disk_free_bytes"])
def test_no_number_of_a_device_is_too_large_to_be_shown(field: str) -> None:
    for value in (1e12, 1e300, HUGE, -HUGE):
        fleet = fleet_of(birth("pi-1"), changed(device_window("pi-1"), **{field: value}))
        assert printed(render_device(fleet.devices["pi-1"], 0.0))

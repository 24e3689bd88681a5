"""The dashboard as a person uses it: a real browser, a real broker, a real agent with a model, and many devices."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from drupelet_host.demo.broker import free_port
from drupelet_host.fleet.rows import SORT_KEYS, SortOrder, filter_rows, make_rows, sort_rows
from drupelet_host.fleet.state import Fleet
from drupelet_host.fleet.summary import Overview
from drupelet_shared.contract.topics import DeviceTopics, FleetTopics
from support.agent.agents import running_agent
from support.agent.fleets import (
    Announced,
    SimulatedFleet,
    birth,
    device_window,
    history,
    limit_crossed,
    model_state,
    model_window,
    publishing,
)
from support.agent.sites import Site, make_site
from support.broker.brokers import embedded_broker, find_mosquitto, mosquitto_broker
from support.broker.proxy import proxy
from support.package.served_packages import LABELS
from support.screen.browser import Page, Scheme, find_chromium, open_browser, press
from support.screen.contrast import CONTRASTS, LEAST_CONTRAST
from support.screen.dashboards import running_dashboard

pytestmark = pytest.mark.skipif(find_chromium() is None, reason="chromium is not installed: apt install chromium")

COUNT = 40
MODEL = "section[aria-label='Model digits']"
ZONE = f"{MODEL} .drop"


@dataclass(frozen=True)
class Stage:
    """A page that shows a fleet of which one device is real."""

    page: Page
    url: str
    site: Site

    @property
    def device(self) -> str:
        return self.site.topics.device


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Site:
    return make_site(tmp_path_factory.mktemp("site"))


@pytest.fixture(scope="module")
def stage(site: Site, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    with embedded_broker() as broker:
        config = site.configure(broker)
        site.install(config)
        with (
            site.listener(broker) as heard,
            running_agent(config),
            publishing(broker, SimulatedFleet(COUNT)),
            running_dashboard(broker) as served,
            open_browser(tmp_path_factory.mktemp("browser"), loopback=True) as page,
        ):
            heard.wait_for(heard.topics.model_state("digits"), health="ready")
            yield Stage(page, served.url, site)


@pytest.fixture
def shown(stage: Stage) -> Stage:
    """The page afresh, with the whole fleet on it."""
    stage.page.show(width=1400)
    # The fragment alone would not load it again.
    stage.page.open("about:blank")
    stage.page.open(stage.url)
    stage.page.wait_for(f"document.querySelector('#counts').textContent.includes(' of {COUNT + 1} devices')")
    stage.page.wait_for(f"document.querySelectorAll('#devices tbody tr').length === {COUNT + COUNT // 2 + 1}")
    return stage


def first_devices(page: Page, count: int = 3) -> list[str]:
    rows = page.evaluate("[...document.querySelectorAll('#devices tbody th a')].map(link => link.textContent)")
    return list(rows[:count])


def open_device(page: Page, device: str) -> None:
    page.evaluate(f"document.querySelector(`#devices a[href='#device={device}']`).click()")
    page.wait_for(f"!document.querySelector('#device').hidden && document.activeElement.textContent === '{device}'")


def png(value: int = 90) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(np.full((8, 8), value, np.uint8)).save(buffer, format="PNG")
    return buffer.getvalue()


def give_file(page: Page, path: Path) -> None:
    """Choose a file in the model's form."""
    document = page.call("DOM.getDocument")["root"]["nodeId"]
    found = page.call("DOM.querySelector", nodeId=document, selector=f"{MODEL} input[type=file]")["nodeId"]
    page.call("DOM.setFileInputFiles", nodeId=found, files=[str(path)])


def answer(page: Page) -> str:
    page.wait_for(f'!/is on its way|^$/.test(document.querySelector("{MODEL} .answer").textContent)')
    return str(page.evaluate(f'document.querySelector("{MODEL} .answer").innerText'))


def test_the_page_shows_every_device_without_a_complaint_and_asks_nobody_else(shown: Stage) -> None:
    text = shown.page.evaluate("document.body.innerText")
    assert f"{COUNT - 2 + 1} of {COUNT + 1} devices online" in text
    assert first_devices(shown.page)[:2] == ["pi-000", "pi-001"]
    assert shown.page.complaints == []
    assert {request.partition("//")[2].partition(":")[0] for request in shown.page.requests} == {"127.0.0.1"}


def test_the_token_leaves_the_address_and_a_reload_finds_it(shown: Stage) -> None:
    assert "token" not in shown.page.evaluate("location.href")
    shown.page.call("Page.reload")
    shown.page.wait_for("document.querySelector('#connection')?.textContent.startsWith('Connected to 127.0.0.1:')")


def test_the_address_of_another_run_says_what_to_do(stage: Stage) -> None:
    stage.page.open("about:blank")
    stage.page.open(stage.url[:-5] + "other")
    notice = stage.page.wait_for("!document.querySelector('#notice').hidden && document.body.innerText")
    assert "Open the address that drupelet dashboard printed" in notice


def test_headings_sort_and_the_filter_filters(shown: Stage) -> None:
    page = shown.page
    page.evaluate("[...document.querySelectorAll('.sort')].find(b => b.textContent === 'temp.').click()")
    assert page.evaluate("document.querySelector('[aria-sort=descending]').textContent") == "temp."
    first = "new Set([...document.querySelectorAll('#devices tbody th a')].slice(0, 3).map(link => link.textContent))"
    # Each device's first numbers come in their own time.
    page.wait_for(f"[...{first}].sort().join() === 'pi-005,pi-022'")
    page.evaluate("document.querySelector('#filter').focus()")
    page.call("Input.insertText", text="failed digits")
    page.wait_for("document.querySelectorAll('#devices tbody tr').length === 2")
    assert set(first_devices(page)) == {"pi-013", "pi-038"}
    assert page.evaluate("document.querySelector('#shown').textContent") == f"2 of {COUNT + COUNT // 2 + 1} rows"


def test_a_device_has_its_states_stages_and_latency_over_time(shown: Stage, tmp_path: Path) -> None:
    page = shown.page
    open_device(page, shown.device)
    page.drop_file(ZONE, png(), "gray.png")
    answer(page)
    page.wait_for(f'document.querySelectorAll("{MODEL} svg .band").length >= 2')
    text = page.evaluate(f'document.querySelector("{MODEL}").innerText')
    assert all(part in text for part in ("ready", "ort-fp32", "onnxruntime, 1 x 1 thread"))
    rows = f'document.querySelectorAll("{MODEL} [aria-label^=Stages] tbody tr")'
    page.wait_for(f"{rows}.length > 0")  # and they stay when windows without requests follow
    page.wait_for(f'document.querySelector("{MODEL} figure .note").textContent.startsWith("0.0 requests/s")')
    stages = page.evaluate(f"[...{rows}].map(row => row.cells[0].textContent)")
    assert {"queue", "decode", "inference", "encode", "total"} <= set(stages)
    assert "Latest: p50 " in page.evaluate(f'document.querySelector("{MODEL} svg title").textContent')
    page.evaluate(f'document.querySelector("{MODEL} summary").click()')
    page.wait_for(f'document.querySelectorAll("{MODEL} details tbody tr").length > 0')
    (tmp_path / "device.png").write_bytes(page.screenshot())
    assert page.complaints == []


def test_an_image_that_is_chosen_or_dropped_is_answered_by_the_model(shown: Stage, tmp_path: Path) -> None:
    page = shown.page
    open_device(page, shown.device)
    (tmp_path / "gray.png").write_bytes(png())
    give_file(page, tmp_path / "gray.png")
    chosen = answer(page)
    labels = page.evaluate(f'[...document.querySelectorAll("{MODEL} .answer th[scope=row]")].map(th => th.textContent)')
    assert "digits 1.0.0 answered gray.png in " in chosen
    assert (len(labels), set(labels) <= set(LABELS)) == (3, True)
    assert page.evaluate(f'document.querySelector("{MODEL} .answer img").naturalWidth') == 8
    page.drop_file(ZONE, png(200), "lighter.png")
    page.wait_for(f"document.querySelector(\"{MODEL} .answer\").innerText.includes('lighter.png')")
    assert "answered lighter.png" in answer(page)


def test_a_json_request_is_answered_and_a_bad_one_refused_with_its_code(shown: Stage) -> None:
    page = shown.page
    open_device(page, shown.device)
    tensor = {"name": "image", "shape": [1, 1, 8, 8], "datatype": "FP32", "data": [0.5] * 64}
    page.drop_file(ZONE, json.dumps({"inputs": [tensor]}).encode(), "request.json")
    assert "scores FP32 [1,10]" in answer(page)
    page.drop_file(ZONE, json.dumps({"inputs": [{**tensor, "datatype": "FP64"}]}).encode(), "bad.json")
    page.wait_for(f'document.querySelector("{MODEL} .answer .failed") !== null')
    assert "[invalid_input_datatype]" in answer(page)
    page.drop_file(ZONE, b"GIF89a", "moving.gif")
    page.wait_for(f"document.querySelector(\"{MODEL} .answer\").innerText.includes('moving.gif')")
    assert "moving.gif is not a PNG, a JPEG or a JSON request [unsupported_content_type]" in answer(page)


def test_everything_is_reached_by_keyboard(shown: Stage) -> None:
    page = shown.page
    reached = []
    for _ in range(20):
        press(page, "Tab", code=9)
        reached.append(page.evaluate("document.activeElement.id || document.activeElement.textContent"))
    assert reached[0] == "Skip to the content"
    assert reached[1] == "filter"
    assert {"device", "p99", "alerts", "pi-000"} <= set(reached)
    while reached[-1] != "pi-001":
        press(page, "Tab", code=9)
        reached.append(page.evaluate("document.activeElement.textContent"))
        assert len(reached) < 40
    press(page, "Enter", code=13, text="\r")
    page.wait_for("document.activeElement.id === 'device-heading'")
    assert page.evaluate("document.title") == "pi-001 · drupelet dashboard"
    press(page, "Tab", code=9)
    assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") in {"auto", "solid"}
    page.evaluate("history.back()")
    page.wait_for("document.activeElement.id === 'fleet-heading'")


def test_the_focus_stays_where_it_is_while_rows_move(shown: Stage) -> None:
    page = shown.page
    page.evaluate("[...document.querySelectorAll('.sort')].find(b => b.textContent === 'p99').click()")
    page.evaluate("document.querySelector(`#devices a[href='#device=pi-007']`).focus()")
    before = first_devices(page, 60)
    shown_now = "[...document.querySelectorAll('#devices tbody th a')].map(a => a.textContent).join()"
    page.wait_for(f"{shown_now} !== '{','.join(before)}'")
    assert page.evaluate("document.activeElement.textContent") == "pi-007"


def hear(page: Page) -> set[tuple[str, str]]:
    """Role and name of all that is told to a screen reader."""
    nodes = page.call("Accessibility.getFullAXTree")["nodes"]
    return {(node["role"]["value"], node.get("name", {}).get("value", "")) for node in nodes if not node["ignored"]}


def test_a_screen_reader_hears_names_and_roles(shown: Stage) -> None:
    page = shown.page
    heard = hear(page)
    assert ("columnheader", "p99") in heard
    assert ("rowheader", "pi-000") in heard
    assert ("searchbox", "Filter") in heard
    open_device(page, shown.device)
    heard |= hear(page)
    roles = {role for role, _ in heard}
    assert {"banner", "main", "navigation", "heading", "status", "table"} <= roles
    assert ("heading", shown.device) in heard
    assert any(role == "button" and name.startswith("Drop a PNG or JPEG here") for role, name in heard)
    assert any(role == "image" and name.startswith("digits, latency from arrival to reply") for role, name in heard)
    named = {"button", "link", "image", "searchbox", "region", "table"}
    assert [(role, name) for role, name in heard if role in named and not name] == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_all_text_stands_out_from_what_is_behind_it(shown: Stage, scheme: Scheme) -> None:
    page = shown.page
    page.show(width=1400, scheme=scheme)
    contrasts = page.evaluate(CONTRASTS)
    open_device(page, shown.device)
    contrasts += page.evaluate(CONTRASTS)
    assert len(contrasts) > 300
    assert [(text, ratio) for ratio, text in contrasts if ratio < LEAST_CONTRAST] == []


@pytest.mark.parametrize("width", [320, 400, 768, 1400])
def test_the_page_never_scrolls_sideways(shown: Stage, width: int) -> None:
    page = shown.page
    page.show(width=width)
    beyond = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
    assert page.evaluate(beyond) == 0
    open_device(page, shown.device)
    assert page.evaluate(beyond) == 0


@pytest.mark.parametrize("width", [400, 640, 768, 800, 1000, 1210, 1280, 1400])
def test_the_table_of_devices_is_whole_on_usual_screens(shown: Stage, width: int) -> None:
    shown.page.show(width=width)
    beyond = "(box => box.scrollWidth - box.clientWidth)(document.querySelector('#devices').closest('.scroll'))"
    assert shown.page.evaluate(beyond) == 0
    shown_here = "[...document.querySelectorAll('#devices thead th')].filter(cell => cell.offsetWidth)"
    headings = shown.page.evaluate(f"{shown_here}.map(cell => cell.textContent.replace(/\\W+$/, ''))")
    assert headings[-1] == ("errors" if width <= 960 else "alerts")
    assert {"req/s", "p50", "p99", "errors"} <= set(headings)
    assert ({"health", "trend"} <= set(headings)) == (width >= 640)


def test_the_page_finds_its_broker_again(tmp_path: Path) -> None:
    with (
        embedded_broker() as broker,
        proxy(broker) as between,
        running_dashboard(between.broker) as served,
        open_browser(tmp_path, loopback=True) as page,
    ):
        page.open(served.url)
        page.wait_for("document.querySelector('#connection').textContent.startsWith('Connected')")
        page.evaluate("""globalThis.told = []; new MutationObserver(() => told.push(
          document.querySelector('#connection').textContent)).observe(document.querySelector('#connection'),
          {childList: true, characterData: true, subtree: true})""")
        between.cut()
        page.wait_for("told.some(text => text.endsWith('trying again')) && told.at(-1).startsWith('Connected')")


@pytest.mark.mosquitto
@pytest.mark.skipif(find_mosquitto() is None, reason="mosquitto is not installed: apt install mosquitto")
def test_the_page_speaks_to_the_brokers_own_listener_where_it_is_told(tmp_path: Path) -> None:
    port = free_port()
    settings = (f"listener {port} 127.0.0.1", "protocol websockets")
    with (
        mosquitto_broker(tmp_path, settings=settings) as broker,
        publishing(broker, SimulatedFleet(3)),
        running_dashboard(broker, "--websocket", f"ws://127.0.0.1:{port}") as served,
        open_browser(tmp_path, loopback=True) as page,
    ):
        page.open(served.url)
        page.wait_for("document.querySelector('#counts').textContent.includes('3 of 3 devices online')")
        assert page.complaints == []


MESSAGES = (
    *SimulatedFleet(30).introduce(),
    *SimulatedFleet(30).tell(),
    birth("pi-a"),
    model_state("pi-a"),
    device_window("pi-a", celsius=None, throttling=None),
    model_window("pi-a", ok=0),
    birth("pi-b", session="2"),
    birth("pi-b", state="offline", session="1"),
    birth("pi-c", labels={"site": "berlin", "room": "2"}),
    birth("pi-c", state="offline"),
    model_state("pi-d", health="starting"),
    birth("pi-e"),
    model_state("pi-e"),
    model_state("pi-e", health="removed"),
    limit_crossed("pi-e"),
    birth("pi-f"),
    limit_crossed("pi-f"),
    limit_crossed("pi-f", state="cleared", value=70.0),
    model_window("pi-f", window_s=30.0, ok=3, inference_failed=4),
    birth("pi-g"),
    Announced(DeviceTopics("pi-g").status, b""),
    birth("pi-h"),
    device_window("pi-h", uptime_s=100.0),
    device_window("pi-h", uptime_s=150.0),
    *(Announced(DeviceTopics("pi-x").status, payload) for payload in (b"{", b"[]", b"null", b'{"state": "asleep"}')),
    *(Announced(DeviceTopics("pi-x").model_state("m"), payload) for payload in (b"{}", b'{"health": "ready"}')),
    Announced(DeviceTopics("pi-x").model_telemetry("m"), b'{"model": "m", "outcomes": {"ok": "many"}}'),
    Announced(DeviceTopics("pi-x").device_telemetry, b'{"device": "pi-x", "uptime_s": "long"}'),
    Announced(DeviceTopics("pi-x").event, b'{"device": "pi-x", "kind": "surprise"}'),
    birth("pi-k"),
    model_window("pi-k"),
    history("pi-k", p99_ms=tuple(float(number) for number in range(25))),
    history("pi-l", p99_ms=(8.0, None, 9.0)),
    birth("pi-l"),
    model_window("pi-l"),
    model_window("pi-l", "x"),
    birth("pi-m"),
    history("pi-m"),
    Announced(DeviceTopics("pi-m").status, b""),
    history("pi-n"),
    *(
        Announced(DeviceTopics("pi-k").telemetry_history, payload)
        for payload in (b"{}", b'{"device": "pi-k", "ended_at": "noon"}')
    ),
    Announced("drupelet/v1/pi-x/infer/digits", b"{}"),
    Announced("drupelet/v1/bad name/status", b"{}"),
)


@pytest.mark.parametrize("now_s", [0.0, 35.0, 45.0, 130.0, 1000.0])
def test_the_page_and_the_command_make_the_same_rows_of_the_same_messages(shown: Stage, now_s: float) -> None:
    fleet = Fleet(FleetTopics())
    for message in MESSAGES:
        fleet.receive(message.topic, message.payload, at_s=0.0)
    given = json.dumps([[message.topic, message.payload.decode()] for message in MESSAGES])
    orders = [order for key in SORT_KEYS for order in (SortOrder.by(key), SortOrder.by(key).reversed())]
    wanted_orders = json.dumps([[order.key, order.reverse] for order in orders])
    found = shown.page.evaluate(f"""import("/fleet.js").then(m => {{
      const fleet = new m.Fleet("drupelet/v1");
      for (const [topic, text] of {given}) fleet.receive(topic, text, 0);
      const rows = m.makeRows(fleet, {now_s});
      return {{
        rows, summary: m.summarize(fleet, rows), filtered: m.filterRows(rows, "PI-00 ready").map(row => row.device),
        filters: m.fleetFilters("drupelet/v1"),
        sorted: {wanted_orders}.map(
          ([key, isReversed]) => m.sortRows(rows, key, isReversed).map(row => [row.device, row.model])),
      }};
    }})""")
    rows = make_rows(fleet, now_s=now_s)
    assert found["rows"] == [json.loads(json.dumps(row.to_json())) for row in rows]
    assert found["summary"] == pytest.approx(Overview.of(fleet, now_s).summary.to_json())
    assert found["filtered"] == [row.device for row in filter_rows(rows, "PI-00 ready")]
    assert found["filters"] == list(FleetTopics().filters)
    for order, listed in zip(orders, found["sorted"], strict=True):
        assert listed == [[row.device, row.model] for row in sort_rows(rows, order)], order

"""What the dashboard knows when it opens, and what a person does with it, each behind a confirmation."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.agent.agents import running_agent
from support.agent.fleets import announcing, birth, device_window, history, model_state, model_window
from support.agent.sites import make_site
from support.broker.brokers import embedded_broker
from support.screen.browser import Page, find_chromium, open_browser, press
from support.screen.dashboards import running_dashboard

pytestmark = pytest.mark.skipif(find_chromium() is None, reason="chromium is not installed: apt install chromium")

DEVICE = "pi-7"
MODEL = "section[aria-label='Model digits']"
STATUS = f'document.querySelector("{MODEL} .actions [role=status]").textContent'


def open_device(page: Page, device: str) -> None:
    page.evaluate(f"document.querySelector(`#devices a[href='#device={device}']`).click()")
    page.wait_for(f"!document.querySelector('#device').hidden && document.activeElement.textContent === '{device}'")


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    """The address of a page about one device, whose history is half an hour long."""
    series = [20.0 + number for number in range(30)]
    retained = [birth(DEVICE), model_state(DEVICE), history(DEVICE, p99_ms=series, celsius=48.5)]
    with (
        embedded_broker() as broker,
        announcing(broker, retained, tell=lambda: [device_window(DEVICE), model_window(DEVICE)], every_s=0.2),
        running_dashboard(broker) as served,
    ):
        yield served.url


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    with open_browser(tmp_path_factory.mktemp("browser"), loopback=True) as page:
        yield page


@pytest.fixture
def page(browser: Page, url: str) -> Page:
    browser.show(width=1400)
    browser.open("about:blank")
    browser.open(url)
    browser.wait_for("document.querySelector('#devices tbody td.number')?.textContent.endsWith('.0')")
    return browser


def test_the_trend_is_there_from_the_moment_the_page_opens(page: Page) -> None:
    line = page.evaluate("document.querySelector('#devices svg.trend path').getAttribute('d')")
    assert line.count("L") == 19
    open_device(page, DEVICE)
    page.wait_for(f"document.querySelector(\"{MODEL} svg.chart\").textContent.includes('29 min ago')")
    assert "up to 51.6 °C in 29 min" in page.evaluate("document.querySelector('#device-trends').innerText")
    page.evaluate(f'document.querySelector("{MODEL} summary").click()')
    ended = page.wait_for(f'document.querySelector("{MODEL} details tbody th")?.textContent')
    assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d", ended)
    assert page.complaints == []


def test_the_means_of_the_stages_and_the_named_rest_add_up_to_the_total(page: Page) -> None:
    open_device(page, DEVICE)
    table = f"{MODEL} [aria-label='Stages in the latest window with requests']"
    page.wait_for(f'document.querySelector("{table} tbody") !== null')
    cells = "[row.cells[0].textContent, row.cells[2].textContent]"
    means = dict(page.evaluate(f'[...document.querySelectorAll("{table} tbody tr")].map(row => {cells})'))
    assert means == {"inference": "4.00 ms", "rest": "0.400 ms", "total": "4.40 ms"}


def test_a_phone_shows_rate_latency_and_errors_without_scrolling(page: Page) -> None:
    page.show(width=390)
    visible = page.evaluate(
        """[...document.querySelectorAll('#devices thead th')].filter(cell => cell.getClientRects().length
        && cell.getBoundingClientRect().right <= innerWidth).map(cell => cell.textContent)"""
    )
    assert visible == ["device", "req/s", "p50", "p99", "errors"]
    assert page.evaluate("document.querySelector('#devices tbody th').innerText").split() == [DEVICE, "digits"]


def dialog_says(page: Page, text: str) -> str:
    dialog = "document.querySelector('dialog')"
    return str(page.wait_for(f"{dialog}?.innerText.includes('{text}') && {dialog}.innerText"))


def click_action(page: Page, label: str) -> None:
    page.evaluate(
        f"""[...document.querySelectorAll("{MODEL} .action")].find(b => b.textContent === '{label}').click()"""
    )


def test_a_roll_back_says_what_it_does_and_happens_only_when_it_is_confirmed(tmp_path: Path) -> None:
    site = make_site(tmp_path)
    (tmp_path / "browser").mkdir()
    with embedded_broker() as broker:
        config = site.configure(broker)
        site.install(config)
        site.install(config, release=2)
        with (
            site.listener(broker) as heard,
            running_agent(config),
            running_dashboard(broker) as served,
            open_browser(tmp_path / "browser", loopback=True) as page,
        ):
            heard.wait_for(heard.topics.model_state("digits"), health="ready", release=2)
            page.open(served.url)
            page.wait_for("document.querySelector('#devices tbody a') !== null")
            open_device(page, site.topics.device)
            click_action(page, "Roll back")
            text = dialog_says(page, "answers instead of")
            assert "release 1 (1.0.0) answers instead of release 2 (2.0.0)" in text
            assert page.evaluate("document.activeElement.closest('dialog') !== null")
            press(page, "Escape", code=27)
            page.wait_for("document.querySelector('dialog') === null")
            assert page.evaluate("document.activeElement.textContent") == "Roll back"
            click_action(page, "Activate newest")
            dialog_says(page, "no release that is newer")
            assert page.evaluate("document.querySelector('dialog .is-main').disabled")
            press(page, "Escape", code=27)
            page.wait_for("document.querySelector('dialog') === null")
            click_action(page, "Roll back")
            dialog_says(page, "answers instead of")
            page.evaluate("document.querySelector('dialog .is-main').click()")
            heard.wait_for(heard.topics.model_state("digits"), health="ready", release=1)
            page.wait_for(f"{STATUS}.includes('release 1 (1.0.0) is active')")
            click_action(page, "Tune again")
            dialog_says(page, "measured again")
            page.evaluate("document.querySelector('dialog .is-main').click()")
            page.wait_for(f'/^Measuring/.test(document.querySelector("{MODEL} .actions [role=status]").textContent)')
            page.wait_for(f'/is active/.test(document.querySelector("{MODEL} .actions [role=status]").textContent)')
            assert page.complaints == []

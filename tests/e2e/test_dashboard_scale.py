"""The page with a large fleet: elements for the rows in view alone."""

from __future__ import annotations

from pathlib import Path

import pytest

from support.agent.fleets import announcing, birth
from support.broker.brokers import Broker
from support.screen.browser import find_chromium, open_browser
from support.screen.dashboards import running_dashboard

pytestmark = [
    pytest.mark.skipif(find_chromium() is None, reason="chromium is not installed: apt install chromium"),
    pytest.mark.mosquitto,
]

COUNT = 2000
NAMES = "[...document.querySelectorAll('#devices tbody th')].map(cell => cell.textContent)"


def test_a_long_table_has_elements_for_the_rows_in_view_and_others_when_it_is_scrolled(
    mosquitto: Broker, tmp_path: Path
) -> None:
    retained = [birth(f"wide-{number:05d}") for number in range(COUNT)]
    with (
        announcing(mosquitto, retained, tell=lambda: (), every_s=1.0),
        running_dashboard(mosquitto) as served,
        open_browser(tmp_path, loopback=True) as page,
    ):
        page.show(width=1400)
        page.open(served.url)
        page.evaluate(
            "document.querySelector('#filter').value = 'wide-';"
            "document.querySelector('#filter').dispatchEvent(new Event('input'))"
        )
        page.wait_for(f"document.querySelector('#devices').ariaRowCount === '{COUNT + 1}'")
        page.wait_for(f"{NAMES}[0] === 'wide-00000'")
        assert page.evaluate(f"{NAMES}.length") < 200
        height = page.evaluate("document.querySelector('#devices').parentElement.scrollHeight")
        assert height > 20 * COUNT
        page.evaluate(f"document.querySelector('#devices').parentElement.scrollTop = {height}")
        page.wait_for(f"{NAMES}.includes('wide-{COUNT - 1:05d}')")
        assert page.evaluate(f"{NAMES}.length") < 200
        assert page.evaluate(f"{NAMES}.includes('wide-00000')") is False
        last = f"[...document.querySelectorAll('#devices tr')].find(row => row.ariaRowIndex === '{COUNT + 1}')"
        assert page.evaluate(f"{last}.textContent.includes('wide-{COUNT - 1:05d}')")
        assert page.complaints == []

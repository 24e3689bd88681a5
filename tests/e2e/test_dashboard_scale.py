"""The page with a large fleet: elements for the rows in view alone, which stay in view while the fleet changes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from support.agent.fleets import announcing, birth
from support.broker.brokers import Broker
from support.screen.browser import Page, find_chromium, open_browser
from support.screen.dashboards import running_dashboard

pytestmark = [
    pytest.mark.skipif(find_chromium() is None, reason="chromium is not installed: apt install chromium"),
    pytest.mark.mosquitto,
]

COUNT = 2000
NAMES = "[...document.querySelectorAll('#devices tbody th')].map(cell => cell.textContent)"
SCROLLED = "document.querySelector('#devices').parentElement"
# The name of the row at the upper edge of the view, just under the headings.
TOP_NAME = """(() => {
  const edge = document.querySelector('#devices thead').getBoundingClientRect().bottom;
  const cells = [...document.querySelectorAll('#devices tbody th')];
  return cells.find(cell => cell.getBoundingClientRect().bottom > edge + 1)?.textContent;
})()"""


@contextmanager
def long_table(broker: Broker, folder: Path, *, width: int = 1400) -> Iterator[Page]:
    """Yield the page with the table of two thousand devices, filtered by their names."""
    retained = [birth(f"wide-{number:05d}") for number in range(COUNT)]
    with (
        announcing(broker, retained, tell=lambda: (), every_s=1.0),
        running_dashboard(broker) as served,
        open_browser(folder, loopback=True) as page,
    ):
        page.show(width=width)
        page.open(served.url)
        page.evaluate(
            "document.querySelector('#filter').value = 'wide-';"
            "document.querySelector('#filter').dispatchEvent(new Event('input'))"
        )
        page.wait_for(f"document.querySelector('#devices').ariaRowCount === '{COUNT + 1}'")
        page.wait_for(f"{NAMES}[0] === 'wide-00000'")
        yield page
        assert page.complaints == []


def test_a_long_table_has_elements_for_the_rows_in_view_and_others_when_it_is_scrolled(
    mosquitto: Broker, tmp_path: Path
) -> None:
    with long_table(mosquitto, tmp_path) as page:
        assert page.evaluate(f"{NAMES}.length") < 200
        height = page.evaluate(f"{SCROLLED}.scrollHeight")
        assert height > 20 * COUNT
        page.evaluate(f"{SCROLLED}.scrollTop = {height}")
        page.wait_for(f"{NAMES}.includes('wide-{COUNT - 1:05d}')")
        assert page.evaluate(f"{NAMES}.length") < 200
        assert page.evaluate(f"{NAMES}.includes('wide-00000')") is False
        last = f"[...document.querySelectorAll('#devices tr')].find(row => row.ariaRowIndex === '{COUNT + 1}')"
        assert page.evaluate(f"{last}.textContent.includes('wide-{COUNT - 1:05d}')")


@pytest.mark.parametrize("width", [1400, 380])
def test_the_first_drawing_of_a_long_table_has_the_height_of_all_rows(
    mosquitto: Broker, tmp_path: Path, width: int
) -> None:
    with long_table(mosquitto, tmp_path, width=width) as page:
        heights = page.evaluate(f"""(() => {{
          {SCROLLED}.scrollTop = 0;
          const filter = document.querySelector('#filter');
          const heights = ['', 'nothing has this name', 'wide-'].map(text => {{
            filter.value = text;
            filter.dispatchEvent(new Event('input'));
            return document.querySelector('#devices').offsetHeight;
          }});
          const row = document.querySelector('#devices tbody tr:has(th)').getBoundingClientRect().height;
          return [heights[2], document.querySelector('#devices thead').offsetHeight + {COUNT} * row];
        }})()""")
        assert heights[0] == pytest.approx(heights[1], abs=0.002 * heights[1])


def test_the_row_at_the_top_of_the_view_stays_there_while_devices_appear_and_leave_above_it(
    mosquitto: Broker, tmp_path: Path
) -> None:
    with long_table(mosquitto, tmp_path) as page:
        page.evaluate(f"{SCROLLED}.scrollTop = {SCROLLED}.scrollHeight / 2")
        page.wait_for(f"{NAMES}.includes('wide-01000')")
        top = page.wait_for(TOP_NAME)
        # Sorted before all others, and let through by the filter.
        earlier = [birth(f"a-wide-{number:03d}") for number in range(300)]
        with announcing(mosquitto, earlier, tell=lambda: (), every_s=1.0):
            page.wait_for(f"document.querySelector('#devices').ariaRowCount === '{COUNT + 301}'")
            assert page.wait_for(TOP_NAME) == top
        page.wait_for(f"document.querySelector('#devices').ariaRowCount === '{COUNT + 1}'")
        assert page.wait_for(TOP_NAME) == top


def test_new_devices_before_the_first_row_are_shown_where_nobody_has_scrolled(
    mosquitto: Broker, tmp_path: Path
) -> None:
    with (
        long_table(mosquitto, tmp_path) as page,
        announcing(mosquitto, [birth("a-wide-000")], tell=lambda: (), every_s=1.0),
    ):
        page.wait_for(f"{TOP_NAME} === 'a-wide-000'")

"""A pool of four real agents of which one is killed every second: every request is answered."""

from __future__ import annotations

import pytest

from benchmarks.fleet.pool import measure
from support.broker.brokers import find_mosquitto


@pytest.mark.slow
@pytest.mark.mosquitto
@pytest.mark.timeout(600)
@pytest.mark.skipif(find_mosquitto() is None, reason="mosquitto is not installed: apt install mosquitto")
def test_every_request_is_answered_while_one_agent_is_killed_every_second() -> None:
    result = measure(4, 4.0)
    assert result["kills"] >= 3
    assert result["asked"] > 50
    assert result["unanswered"] == 0, result["outcomes"]

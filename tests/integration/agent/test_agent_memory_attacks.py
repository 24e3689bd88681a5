"""The parent's memory has a bound in bytes, whatever clients and brokers do."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.agent.memory_attacks import ATTACKS
from support.broker.brokers import find_mosquitto


@pytest.mark.slow
@pytest.mark.mosquitto
@pytest.mark.skipif(find_mosquitto() is None, reason="mosquitto is not installed")
@pytest.mark.parametrize("name", ATTACKS)
def test_the_parent_holds_at_most_60_mb_and_the_memory_for_messages(tmp_path: Path, name: str) -> None:
    peak = ATTACKS[name](tmp_path / "attack", seconds=10.0)
    assert peak.is_bounded, peak
    assert peak.requests > 0

"""What integration tests of agent and client start from."""

from __future__ import annotations

from pathlib import Path

import pytest

from support.agent.sites import Site, make_site


@pytest.fixture
def site(tmp_path: Path) -> Site:
    """A device's configuration folder with a trusted key."""
    return make_site(tmp_path)

"""The emulated Raspberry Pi 4, which `deploy/emulator/prepare` makes."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from benchmarks.instructions.emulator import FOLDER, EmulatedPi


@pytest.fixture(scope="session")
def pi() -> EmulatedPi:
    """The machine in the default folder; where DRUPELET_EMULATOR names one, that must be there."""
    named = os.environ.get("DRUPELET_EMULATOR")
    found = EmulatedPi(folder=Path(named).resolve() if named else FOLDER)
    if named is None and not found.is_prepared:
        pytest.skip("the emulated Pi is not prepared: `make test-emulated` does, on Debian and Ubuntu")
    assert found.python.is_file()
    return found

"""The paths of a store: other programs and earlier versions of the agent rely on them."""

from __future__ import annotations

from pathlib import Path

import pytest

from drupelet_agent.store.layout import StoreLayout
from drupelet_shared.errors import InvalidValueError

ROOT = Path("/var/lib/drupelet")
LAYOUT = StoreLayout(ROOT)
DIGEST = "ab" * 32


def test_each_kind_of_file_has_its_place() -> None:
    assert LAYOUT.lock == ROOT / "lock"
    assert LAYOUT.desired == ROOT / "desired.json"
    assert LAYOUT.incoming == ROOT / "incoming"
    assert LAYOUT.staging == ROOT / "staging"
    assert LAYOUT.packages == ROOT / "packages"
    assert LAYOUT.models == ROOT / "models"
    assert LAYOUT.measurements == ROOT / "measurements"
    assert LAYOUT.measuring_lock == ROOT / "measurements/lock"


def test_packages_and_measurements_are_named_after_digests_and_records_after_models() -> None:
    assert LAYOUT.package(DIGEST) == ROOT / "packages" / DIGEST
    assert LAYOUT.measurements_of(DIGEST) == ROOT / f"measurements/{DIGEST}.json"
    assert LAYOUT.record("digits") == ROOT / "models/digits.json"


@pytest.mark.parametrize("name", ["../digits", "a/b", "", ".hidden"])
def test_a_name_that_leaves_the_folder_is_refused(name: str) -> None:
    with pytest.raises(InvalidValueError, match="model"):
        LAYOUT.record(name)

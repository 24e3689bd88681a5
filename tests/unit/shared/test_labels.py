"""Labels of devices."""

from __future__ import annotations

import pytest

from drupelet_shared.errors import InvalidValueError
from drupelet_shared.labels import Label, has_labels, parse_label


def test_a_label_is_read_as_it_is_written() -> None:
    label = parse_label("site=berlin-2")
    assert label == Label("site", "berlin-2")
    assert parse_label(str(label)) == label


@pytest.mark.parametrize("text", ["site", "site=", "=berlin", "site=a=b", "si te=berlin", "site=ber/lin"])
def test_a_malformed_label_is_named(text: str) -> None:
    with pytest.raises(InvalidValueError, match=f"label '{text}'"):
        parse_label(text)


def test_a_device_needs_every_label_that_is_required() -> None:
    required = [Label("site", "berlin"), Label("board", "pi4")]
    assert has_labels({"site": "berlin", "board": "pi4", "row": "7"}, required)
    assert not has_labels({"site": "berlin"}, required)
    assert not has_labels({"site": "berlin", "board": "pi5"}, required)
    assert not has_labels(None, required)
    assert has_labels(None, [])

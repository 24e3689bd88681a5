from __future__ import annotations

from pathlib import Path

import pytest

from drupelet_shared.toml_files import read_toml


def test_a_byte_order_mark_is_skipped(tmp_path: Path) -> None:
    path = tmp_path / "a.toml"
    path.write_bytes(b'\xef\xbb\xbfname = "d\xc3\xa9"\n')
    assert read_toml(path) == {"name": "dé"}


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"a = 1\nb = 2\nc = '\xe9'\n", r"not TOML: line 3 is not UTF-8 text \(byte 0xe9\): save the file as UTF-8"),
        (b"a = 1\nb =\n", r"not TOML: .*line 2"),
    ],
)
def test_what_is_no_toml_is_an_error_that_says_where(tmp_path: Path, data: bytes, message: str) -> None:
    path = tmp_path / "a.toml"
    path.write_bytes(data)
    with pytest.raises(ValueError, match=message):
        read_toml(path)

"""Which part of a chunk continues a file."""

from __future__ import annotations

import pytest

from drupelet_agent.delivery.reassembly import continuation
from drupelet_shared.errors import UploadError

SIZE = 100


@pytest.mark.parametrize(
    ("received", "offset", "length", "part"),
    [
        (0, 0, 10, slice(0, 10)),
        (10, 10, 10, slice(0, 10)),
        (10, 5, 10, slice(5, 10)),
        (10, 9, 2, slice(1, 2)),
        (90, 90, 10, slice(0, 10)),
        (0, 0, SIZE, slice(0, SIZE)),
    ],
)
def test_the_new_part_of_a_chunk_starts_where_the_file_ends(
    received: int, offset: int, length: int, part: slice
) -> None:
    assert continuation(received=received, size=SIZE, offset=offset, length=length) == part


@pytest.mark.parametrize(("received", "offset", "length"), [(10, 0, 10), (10, 0, 5), (10, 11, 5), (0, 1, 99)])
def test_a_chunk_without_new_bytes_or_with_a_gap_before_it_adds_nothing(
    received: int, offset: int, length: int
) -> None:
    assert continuation(received=received, size=SIZE, offset=offset, length=length) is None


def test_a_chunk_beyond_the_end_of_the_file_is_refused() -> None:
    with pytest.raises(UploadError, match="chunk of 11 bytes at 90: reaches beyond the file's 100 bytes"):
        continuation(received=90, size=SIZE, offset=90, length=11)

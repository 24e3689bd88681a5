"""Chunks that are lost, repeated and out of order: the file is always a prefix of what was sent, and gets whole."""

from __future__ import annotations

import hashlib
import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drupelet_agent.config.packages import DeliveryConfig
from drupelet_agent.delivery.reassembly import continuation
from drupelet_agent.delivery.spool import Spool
from drupelet_shared.errors import UploadError

DATA = bytes(range(251)) * 3
DIGEST = hashlib.sha256(DATA).hexdigest()
SIZE = len(DATA)
CHUNKS = st.tuples(st.integers(0, SIZE - 1), st.integers(1, 300)).map(lambda c: (c[0], DATA[c[0] : c[0] + c[1]]))


@pytest.mark.slow
@given(st.lists(CHUNKS, max_size=30), st.lists(st.integers(0, 29), max_size=3))
def test_whatever_arrives_the_file_is_a_prefix_and_never_shrinks(
    chunks: list[tuple[int, bytes]], restarts: list[int]
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        root, before = Path(folder) / "incoming", 0
        spool = Spool(root, DeliveryConfig(reserve=1))
        spool.received(DIGEST, SIZE)
        for number, (offset, chunk) in enumerate(chunks):
            if number in restarts:
                spool = Spool(root, DeliveryConfig(reserve=1))
            received = spool.append(DIGEST, SIZE, offset=offset, chunk=chunk)
            path = spool.whole(DIGEST) if received == SIZE else root / f"{DIGEST}.{SIZE}.part"
            assert path.read_bytes() == DATA[:received]
            assert received >= before
            assert received >= min(offset + len(chunk), SIZE) or offset > before
            before = received
        for offset in range(before, SIZE, 100):
            before = spool.append(DIGEST, SIZE, offset=offset, chunk=DATA[offset : offset + 100])
        assert spool.whole(DIGEST).read_bytes() == DATA


@given(st.integers(0, 1000), st.integers(0, 1000), st.integers(0, 1000), st.integers(1, 1000))
def test_a_part_continues_exactly_where_the_file_ends(received: int, size: int, offset: int, length: int) -> None:
    if offset + length > size:
        with pytest.raises(UploadError):
            continuation(received=received, size=size, offset=offset, length=length)
        return
    part = continuation(received=received, size=size, offset=offset, length=length)
    if part is None:
        assert offset > received or offset + length <= received
    else:
        assert offset + part.start == received
        assert part.stop == length

"""What others order over MQTT: commands, desired states, and the properties of chunks."""

from __future__ import annotations

import json
from collections.abc import Sequence
from random import Random

from pydantic import ValidationError

from drupelet_agent.delivery.desired_file import read_desired
from drupelet_agent.delivery.reassembly import continuation
from drupelet_agent.delivery.uploads import read_chunk
from drupelet_shared.contract.commands import EXCHANGES, InstallRequest, RollBackRequest
from drupelet_shared.contract.delivery import DesiredState, UploadState
from drupelet_shared.errors import DesiredStateError, UploadError
from fuzz.mutations import mutate_bytes, mutate_json
from fuzz.target import Target

_DIGEST = "0" * 64


def check_order(data: bytes) -> bool:
    """A desired state or a command's request is read and comes back when written again, or is refused."""
    taken = False
    try:
        desired = read_desired("digits", data)
        assert read_desired("digits", desired.to_bytes()) == desired
        taken = True
    except DesiredStateError:
        pass
    for kind in (*(exchange.request for exchange in EXCHANGES.values()), UploadState):
        try:
            message = kind.model_validate_json(data)
        except ValidationError:
            continue
        assert kind.model_validate_json(message.model_dump_json(exclude_none=True)) == message
        taken = True
    return taken


def check_chunk(data: bytes) -> bool:
    """A chunk whose properties are the first lines of the data continues a file within its size, or is refused."""
    *lines, payload = data.split(b"\n", 3)
    pairs = [tuple(line.decode("latin-1").partition("=")[::2]) for line in lines]
    try:
        chunk = read_chunk(_DIGEST, [(name, value) for name, value in pairs], payload)
        if chunk.offset is None:
            return True
        part = continuation(received=chunk.size // 2, size=chunk.size, offset=chunk.offset, length=len(chunk.data))
    except UploadError:
        return False
    assert part is None or 0 <= chunk.offset + part.start <= chunk.offset + part.stop <= chunk.size
    return True


def _mutate(data: bytes, random: Random, others: Sequence[bytes]) -> bytes:
    return mutate_json(data, random) if random.randrange(3) else mutate_bytes(data, random, others=others)


ORDERS = Target(
    name="orders",
    seeds=(
        DesiredState(version="1.2.0", digest=_DIGEST, source="https://host/a.drupe?b=c").to_bytes(),
        InstallRequest(source=f"upload:{_DIGEST}", model="digits").to_bytes(),
        RollBackRequest(model="digits", from_release=7).to_bytes(),
        UploadState(digest=_DIGEST, size_bytes=9, received_bytes=3, chunk_offset=0).to_bytes(),
        json.dumps({"model": "digits", "release": 2}).encode(),
    ),
    check=check_order,
    mutate=_mutate,
)
CHUNKS = Target(
    name="chunks",
    seeds=(
        b"Upload-Length=9\nUpload-Offset=3\n=\nabc",
        b"Upload-Length=9\nother=1\n=\n",
        b"Upload-Length=100000000000\nUpload-Offset=0\n=\n" + bytes(100),
    ),
    check=check_chunk,
)

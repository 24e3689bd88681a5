from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from drupelet_host.client.connection.transport import ReceivedMessage
from drupelet_host.client.control.chunks import DEFAULT_CHUNK_BYTES, MIN_CHUNK_BYTES, ChunkSize
from drupelet_host.client.control.control import ControlClient
from drupelet_host.client.control.package_file import PackageFile, measure_file
from drupelet_host.client.control.upload import UploadTiming, upload
from drupelet_host.errors import RemoteError, ReplyTimeoutError
from drupelet_shared.contract.delivery import OFFSET_PROPERTY
from fakes.control_device import ControlledDevice
from fakes.mqtt import ADDRESS, FakeBroker

TIMING = UploadTiming(answer_s=0.1, stall_s=0.5, pause_s=0.01)
CONTENT = bytes(range(256)) * 2000


@pytest.fixture
def broker() -> FakeBroker:
    return FakeBroker()


@pytest.fixture
def device(broker: FakeBroker) -> ControlledDevice:
    device = ControlledDevice(broker)
    device.announce()
    return device


@pytest.fixture
def control(broker: FakeBroker) -> Iterator[ControlClient]:
    with ControlClient(broker=ADDRESS, transport_factory=broker.connect, connect_timeout_s=1.0) as client:
        yield client


@pytest.fixture
def file(tmp_path: Path) -> PackageFile:
    path = tmp_path / "file.bin"
    path.write_bytes(CONTENT)
    return measure_file(path)


def send(control: ControlClient, device: ControlledDevice, file: PackageFile) -> list[int]:
    """Upload a file; returns how far the device was, each time it answered."""
    received: list[int] = []
    topic = device.topics.upload(file.digest)
    upload(
        control,
        device.topics.device,
        file,
        topic=topic,
        on_bytes=lambda done, total: received.append(done) if total == file.size_bytes else None,
        timing=TIMING,
    )
    return received


def chunk_sizes(broker: FakeBroker) -> list[int]:
    return [len(message.payload) for message in broker.published if is_chunk(message)]


def offset_of(message: ReceivedMessage) -> int:
    """Return where a chunk starts; -1 for a message that is none."""
    return int(dict(message.user_properties).get(OFFSET_PROPERTY, -1))


def is_chunk(message: ReceivedMessage) -> bool:
    return offset_of(message) >= 0


def test_a_file_arrives_whole_in_chunks_of_the_usual_size(
    broker: FakeBroker, device: ControlledDevice, control: ControlClient, file: PackageFile
) -> None:
    received = send(control, device, file)
    assert bytes(device.files[file.digest]) == CONTENT
    assert (received[0], received[-1]) == (0, len(CONTENT))
    assert set(chunk_sizes(broker)[:-1]) == {DEFAULT_CHUNK_BYTES}


def test_an_upload_goes_on_from_what_the_device_has(
    broker: FakeBroker, device: ControlledDevice, control: ControlClient, file: PackageFile
) -> None:
    device.files[file.digest] = bytearray(CONTENT[:400_000])
    assert send(control, device, file)[0] == 400_000
    assert bytes(device.files[file.digest]) == CONTENT
    assert sum(chunk_sizes(broker)) == len(CONTENT) - 400_000


def test_a_chunk_that_is_lost_is_sent_again(
    broker: FakeBroker, device: ControlledDevice, control: ControlClient, file: PackageFile
) -> None:
    chunks = 0

    def lose_third(message: ReceivedMessage) -> bool:
        nonlocal chunks
        chunks += is_chunk(message)
        return is_chunk(message) and chunks == 3

    broker.lost = lose_third
    send(control, device, file)
    assert bytes(device.files[file.digest]) == CONTENT


def test_chunks_fit_into_what_the_broker_announces(
    broker: FakeBroker, device: ControlledDevice, control: ControlClient, file: PackageFile
) -> None:
    broker.max_payload_bytes = 10_000
    send(control, device, file)
    assert max(chunk_sizes(broker)) == 10_000
    assert bytes(device.files[file.digest]) == CONTENT


def test_chunks_are_halved_while_the_broker_loses_large_ones(
    broker: FakeBroker, device: ControlledDevice, control: ControlClient, file: PackageFile
) -> None:
    broker.lost = lambda message: len(message.payload) > 20_000
    send(control, device, file)
    assert bytes(device.files[file.digest]) == CONTENT
    sizes = chunk_sizes(broker)
    assert {65_536, 32_768, 16_384} <= set(sizes)
    assert sum(size == 16_384 for size in sizes) == len(CONTENT) // 16_384


def test_chunks_are_halved_although_a_short_last_one_passes(
    broker: FakeBroker, device: ControlledDevice, control: ControlClient, file: PackageFile
) -> None:
    assert 32_768 < len(CONTENT) % DEFAULT_CHUNK_BYTES < 60_000
    broker.lost = lambda message: len(message.payload) > 60_000
    send(control, device, file)
    assert bytes(device.files[file.digest]) == CONTENT
    assert 32_768 in chunk_sizes(broker)


def test_chunks_are_halved_at_once_when_the_broker_refuses_their_size(
    broker: FakeBroker, device: ControlledDevice, control: ControlClient, file: PackageFile
) -> None:
    broker.refused = lambda message: "Packet too large" if len(message.payload) > 20_000 else None
    start = time.monotonic()
    send(control, device, file)
    assert bytes(device.files[file.digest]) == CONTENT
    assert time.monotonic() - start < TIMING.answer_s


def test_an_upload_of_which_no_chunk_is_answered_ends_with_what_to_change(
    broker: FakeBroker, device: ControlledDevice, control: ControlClient, file: PackageFile
) -> None:
    broker.lost = is_chunk
    with pytest.raises(ReplyTimeoutError, match=r"not even one of 1024 bytes.*message_size_limit, max_packet_size"):
        send(control, device, file)
    assert min(chunk_sizes(broker)) == MIN_CHUNK_BYTES


def test_a_device_that_is_busy_for_ever_does_not_keep_an_upload_alive(
    device: ControlledDevice, control: ControlClient, file: PackageFile
) -> None:
    device.answers_upload = lambda message: "device_busy" if offset_of(message) >= 131_072 else "ok"
    with pytest.raises(ReplyTimeoutError, match=r"no byte gained for \d+ s at 131072 of 512000 bytes"):
        send(control, device, file)


def test_a_device_that_discards_what_it_had_again_and_again_ends_the_upload(
    device: ControlledDevice, control: ControlClient, file: PackageFile
) -> None:
    def discard(message: ReceivedMessage) -> str:
        if offset_of(message) < 0:
            device.files[file.digest] = bytearray()
        return "device_busy" if offset_of(message) >= 131_072 else "ok"

    device.answers_upload = discard
    with pytest.raises(ReplyTimeoutError, match=r"the device has discarded the file 4 times, last at 131072"):
        send(control, device, file)


def test_an_unanswered_chunk_of_a_size_that_has_passed_is_not_made_smaller(
    broker: FakeBroker, device: ControlledDevice, control: ControlClient, file: PackageFile
) -> None:
    broker.lost = lambda message: offset_of(message) >= 131_072
    with pytest.raises(ReplyTimeoutError, match=r"no byte gained for .* at 131072 of"):
        send(control, device, file)
    assert set(chunk_sizes(broker)) <= {DEFAULT_CHUNK_BYTES, len(CONTENT) % DEFAULT_CHUNK_BYTES}


def test_early_answers_that_arrive_late_and_again_do_not_end_an_upload(
    device: ControlledDevice, control: ControlClient, file: PackageFile
) -> None:
    device.repeats_answers = True
    send(control, device, file)
    assert bytes(device.files[file.digest]) == CONTENT


def test_a_busy_device_is_asked_again_until_it_takes_the_file(
    device: ControlledDevice, control: ControlClient, file: PackageFile
) -> None:
    answers = iter(["device_busy", "device_busy"])
    device.answers_upload = lambda _: next(answers, "ok")
    send(control, device, file)
    assert bytes(device.files[file.digest]) == CONTENT


def test_a_refusal_of_the_device_ends_the_upload_with_its_code(
    device: ControlledDevice, control: ControlClient, file: PackageFile
) -> None:
    device.answers_upload = lambda _: "package_too_large"
    with pytest.raises(RemoteError, match="answered package_too_large") as caught:
        send(control, device, file)
    assert caught.value.device_code == "package_too_large"


@pytest.mark.parametrize(("limit", "expected"), [(None, 65_536), (10**6, 65_536), (5000, 5000), (0, 1)])
def test_the_first_chunk_size_is_the_usual_one_or_what_the_broker_takes(limit: int | None, expected: int) -> None:
    assert ChunkSize.for_broker(limit).size_bytes == expected


def test_halving_ends_at_the_smallest_chunk() -> None:
    assert ChunkSize(2048).halved() == ChunkSize(1024)
    assert ChunkSize(2047).halved() is None

"""Chunks of a package over MQTT: each is answered with how far the file has come."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial
from pathlib import Path

import pytest

from drupelet_agent.config.packages import DeliveryConfig
from drupelet_agent.delivery.spool import Spool
from drupelet_agent.delivery.uploads import Chunk, Uploads, read_chunk
from drupelet_agent.messaging.reply_publisher import ReplyPublisher
from drupelet_agent.mqtt.message import Message, Publication
from drupelet_agent.mqtt.outcome import OutcomeCallback
from drupelet_shared.contract.topics import DeviceTopics
from drupelet_shared.errors import UploadError
from support.agent.scenarios import run_scenario
from support.broker.mqtt_clients import eventually

TOPICS = DeviceTopics("pi")
DATA = bytes(range(256)) * 4
DIGEST = hashlib.sha256(DATA).hexdigest()
SIZE = len(DATA)


class Bench:
    """Uploads to a folder, and the replies that were published."""

    def __init__(self, folder: Path) -> None:
        self.spool = Spool(folder / "incoming", DeliveryConfig(max_package=10**9, reserve=1))
        self.published: list[Publication] = []
        self.uploads = Uploads(TOPICS, self.spool, replies=ReplyPublisher(self._publish))

    def _publish(self, publication: Publication, *, on_outcome: OutcomeCallback | None = None) -> None:
        assert on_outcome is not None
        self.published.append(publication)

    def send(self, data: bytes = b"", *, digest: str = DIGEST, response_topic: str | None = None, **pairs: int) -> None:
        properties = tuple((name.replace("_", "-"), str(value)) for name, value in pairs.items())
        message = Message(TOPICS.upload(digest), data, qos=1, user_properties=properties, response_topic=response_topic)
        self.uploads.handle(message)

    async def answers(self, count: int) -> list[dict[str, object]]:
        """Let the disk work until there are this many answers, and return them."""
        task = asyncio.create_task(self.uploads.run())
        await eventually(lambda: len(self.published) >= count)
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
        return [json.loads(publication.payload) for publication in self.published]


Scenario = Callable[[Bench], Awaitable[None]]


@pytest.fixture
def play(tmp_path: Path) -> Callable[[Scenario], None]:
    return partial(run_scenario, lambda: Bench(tmp_path))


def test_chunks_are_written_and_each_is_answered_with_what_is_received(play: Callable[[Scenario], None]) -> None:
    async def scenario(bench: Bench) -> None:
        bench.send(DATA[:600], Upload_Length=SIZE, Upload_Offset=0)
        bench.send(DATA[600:], Upload_Length=SIZE, Upload_Offset=600)
        answers = await bench.answers(2)
        assert [(answer["received_bytes"], answer["chunk_offset"]) for answer in answers] == [(600, 0), (SIZE, 600)]
        assert {publication.topic for publication in bench.published} == {TOPICS.upload_state(DIGEST)}
        assert bench.spool.whole(DIGEST).read_bytes() == DATA

    play(scenario)


def test_a_message_without_bytes_asks_how_far_the_file_has_come(play: Callable[[Scenario], None]) -> None:
    async def scenario(bench: Bench) -> None:
        bench.send(DATA[:600], Upload_Length=SIZE, Upload_Offset=0)
        bench.send(Upload_Length=SIZE)
        answers = await bench.answers(2)
        assert answers[1] == {"digest": DIGEST, "size_bytes": SIZE, "received_bytes": 600}

    play(scenario)


def test_an_error_of_the_disk_is_the_answer_and_the_next_chunk_is_written(play: Callable[[Scenario], None]) -> None:
    async def scenario(bench: Bench) -> None:
        bench.send(DATA, Upload_Length=SIZE - 1, Upload_Offset=0)
        bench.send(DATA, Upload_Length=SIZE, Upload_Offset=0, digest="f" * 64)
        first, second = await bench.answers(2)
        assert first["code"] == "invalid_upload"
        assert second["received_bytes"] == SIZE

    play(scenario)


def test_a_response_topic_is_answered_and_one_that_is_refused_is_not(play: Callable[[Scenario], None]) -> None:
    async def scenario(bench: Bench) -> None:
        bench.send(Upload_Length=SIZE, response_topic="clients/me")
        bench.send(Upload_Length=SIZE, response_topic=TOPICS.infer("m"))
        answers = await bench.answers(2)
        assert {publication.topic for publication in bench.published} == {"clients/me", TOPICS.upload_state(DIGEST)}
        assert {answer.get("code") for answer in answers} == {None, "invalid_request"}

    play(scenario)


def test_messages_of_other_topics_are_ignored(play: Callable[[Scenario], None]) -> None:
    async def scenario(bench: Bench) -> None:
        bench.uploads.handle(Message(TOPICS.upload_state(DIGEST), b""))
        bench.uploads.handle(Message(TOPICS.upload("no-digest"), b""))
        assert bench.published == []

    play(scenario)


def test_a_sender_that_is_faster_than_the_disk_is_told_to_wait(play: Callable[[Scenario], None]) -> None:
    async def scenario(bench: Bench) -> None:
        for _ in range(65):
            bench.send(Upload_Length=SIZE)
        (refused,) = [json.loads(publication.payload) for publication in bench.published]
        assert refused["code"] == "device_busy"
        assert len(await bench.answers(65)) == 65

    play(scenario)


def test_chunks_that_wait_are_bounded_in_bytes(play: Callable[[Scenario], None]) -> None:
    async def scenario(bench: Bench) -> None:
        size = 100 * 2**20
        for _ in range(3):
            bench.send(bytes(8 * 2**20 + 1), Upload_Length=size, Upload_Offset=0)
        (refused,) = [json.loads(publication.payload) for publication in bench.published]
        assert refused["error"].endswith(f"{16 * 2**20 + 2} bytes wait for the disk already")
        await bench.answers(3)
        bench.send(b"x", Upload_Length=size, Upload_Offset=8 * 2**20 + 1)
        assert (await bench.answers(4))[-1]["received_bytes"] == 8 * 2**20 + 2

    play(scenario)


class ThreadlessSpool(Spool):
    """A spool on a system that starts no thread for a moment."""

    def received(self, digest: str, size: int) -> int:
        if digest != DIGEST:
            raise RuntimeError("can't start new thread")
        return super().received(digest, size)


def test_an_error_that_is_not_the_disks_is_an_answer_too_and_frees_what_the_chunk_held(tmp_path: Path) -> None:
    async def scenario(bench: Bench) -> None:
        bench.spool = ThreadlessSpool(tmp_path / "incoming", DeliveryConfig(max_package=10**9, reserve=1))
        bench.uploads = Uploads(TOPICS, bench.spool, replies=ReplyPublisher(bench._publish))
        for number in range(3):
            bench.send(bytes(8 * 2**20 - 1), digest=f"{number}" * 64, Upload_Length=10**8, Upload_Offset=0)
            answers = await bench.answers(number + 1)
            assert answers[-1]["code"] == "store_error"
        bench.send(DATA, Upload_Length=SIZE, Upload_Offset=0)
        assert (await bench.answers(4))[-1]["received_bytes"] == SIZE

    run_scenario(lambda: Bench(tmp_path), scenario)


class TestChunk:
    def test_it_holds_what_its_properties_say(self) -> None:
        properties = [("Upload-Length", "10"), ("Upload-Offset", "3"), ("other", "x")]
        assert read_chunk(DIGEST, properties, b"abc") == Chunk(DIGEST, size=10, offset=3, data=b"abc")

    def test_a_query_has_neither_offset_nor_bytes(self) -> None:
        assert read_chunk(DIGEST, [("Upload-Length", "10")], b"").offset is None

    @pytest.mark.parametrize("properties", [[], [("Upload-Length", "0")], [("Upload-Offset", "0")]])
    def test_without_the_length_of_the_file_it_is_refused(self, properties: list[tuple[str, str]]) -> None:
        with pytest.raises(UploadError, match="Upload-Length must be the size of the file in bytes"):
            read_chunk(DIGEST, properties, b"abc")

    @pytest.mark.parametrize(("offset", "data"), [(None, b"abc"), ("0", b"")])
    def test_bytes_and_offset_belong_together(self, offset: str | None, data: bytes) -> None:
        properties = [("Upload-Length", "10"), *([("Upload-Offset", offset)] if offset is not None else [])]
        with pytest.raises(UploadError, match="bytes and User Property Upload-Offset belong together"):
            read_chunk(DIGEST, properties, data)

    @pytest.mark.parametrize("value", ["-1", "1.5", "", "ten", "²", "1" * 13])
    def test_a_length_that_is_no_number_of_bytes_is_refused(self, value: str) -> None:
        with pytest.raises(UploadError, match="expected a number of bytes"):
            read_chunk(DIGEST, [("Upload-Length", value)], b"")

    def test_a_length_of_twelve_digits_is_a_number(self) -> None:
        assert read_chunk(DIGEST, [("Upload-Length", "9" * 12)], b"").size == 10**12 - 1

"""Commands over MQTT: each runs once, and its progress and result are sent to the client that requested it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable

import pytest

from drupelet_agent.commands.router import CommandRouter
from drupelet_agent.messaging.reply_publisher import ReplyPublisher
from drupelet_agent.mqtt.codec.properties import publish_properties
from drupelet_agent.mqtt.message import Message, Publication
from drupelet_agent.mqtt.outcome import OutcomeCallback
from drupelet_shared.contract.topics import DeviceTopics
from drupelet_shared.contract.wire import MAX_COMMAND_BYTES
from drupelet_shared.errors import BusyError, DrupeletError
from support.agent.fleet_bench import settle

TOPICS = DeviceTopics("pi")
REPLY = "clients/me"


class FakeRunner:
    """Runs each command until the test ends it."""

    def __init__(self) -> None:
        self.started: list[tuple[str, bytes]] = []
        self.deadlines: list[float | None] = []
        self.answer: Callable[[str, bytes], None] = lambda _code, _payload: None
        self.error: DrupeletError | None = None
        self.cancelled = 0
        self._ended = asyncio.Event()

    async def run(
        self,
        name: str,
        payload: bytes,
        *,
        on_answer: Callable[[str, bytes], None],
        deadline_s: float | None = None,
    ) -> str:
        self.started.append((name, payload))
        self.deadlines.append(deadline_s)
        self.answer = on_answer
        if self.error is not None:
            raise self.error
        try:
            await self._ended.wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        return "ok"

    def end(self) -> None:
        self._ended.set()


class Bench:
    """A router over a fake runner, and what it published."""

    def __init__(self) -> None:
        self.runner = FakeRunner()
        self.published: list[Publication] = []
        self.router = CommandRouter(TOPICS, self.runner, replies=ReplyPublisher(self._publish))  # type: ignore[arg-type]

    def _publish(self, publication: Publication, *, on_outcome: OutcomeCallback | None = None) -> None:
        assert on_outcome is not None
        self.published.append(publication)

    async def send(self, name: str = "rollback", payload: bytes = b'{"model": "m"}', **fields: object) -> None:
        fields = {"qos": 1, "response_topic": REPLY, "correlation": b"c1", **fields}
        self.router.handle(Message(TOPICS.command(name), payload, **fields))  # type: ignore[arg-type]
        await settle()

    @property
    def payloads(self) -> list[bytes]:
        return [publication.payload for publication in self.published]

    @property
    def refusal(self) -> dict[str, object]:
        document: dict[str, object] = json.loads(self.published[-1].payload)
        return document


Scenario = Callable[[Bench], Awaitable[None]]


def run(scenario: Scenario) -> None:
    async def main() -> None:
        bench = Bench()
        await scenario(bench)
        await bench.router.stop()

    asyncio.run(main())


def test_progress_and_result_are_published_to_the_sender_with_their_codes() -> None:
    async def scenario(bench: Bench) -> None:
        await bench.send()
        assert bench.runner.started == [("rollback", b'{"model": "m"}')]
        bench.runner.answer("progress", b'{"stage": "active"}')
        bench.runner.answer("ok", b"{}")
        assert {publication.topic for publication in bench.published} == {REPLY}
        assert bench.payloads == [b'{"stage": "active"}', b"{}"]
        for publication, code in zip(bench.published, ("progress", "ok"), strict=True):
            pair = publish_properties(
                content_type="x", is_text=False, correlation=None, user_properties=[("code", code)]
            )
            assert pair[-len(code) - 4 :] in publication.properties
            assert b"c1" in publication.properties

    run(scenario)


@pytest.mark.parametrize("other", [("list", b""), ("rollback", b'{"model": "n"}')])
def test_another_command_with_the_same_correlation_data_is_not_taken_for_a_repetition(other: tuple[str, bytes]) -> None:
    async def scenario(bench: Bench) -> None:
        await bench.send()
        bench.runner.answer("ok", b"{}")
        await bench.send(*other)
        assert bench.runner.started == [("rollback", b'{"model": "m"}'), other]
        assert bench.payloads == [b"{}"]
        await bench.send()
        assert len(bench.runner.started) == 2
        assert bench.payloads == [b"{}", b"{}"]

    run(scenario)


def test_without_a_response_topic_the_result_goes_to_that_of_the_command() -> None:
    async def scenario(bench: Bench) -> None:
        await bench.send(response_topic=None)
        bench.runner.answer("ok", b"{}")
        assert bench.published[0].topic == TOPICS.command_result("rollback")

    run(scenario)


def test_an_unknown_command_is_refused_with_those_that_are_known() -> None:
    async def scenario(bench: Bench) -> None:
        await bench.send("explode")
        assert bench.refusal["code"] == "unknown_command"
        assert "activate, install, list, measure, profile, remove, rollback, tune" in str(bench.refusal["error"])
        assert bench.runner.started == []

    run(scenario)


def test_a_command_beyond_the_limit_is_refused_and_one_at_the_limit_runs() -> None:
    async def scenario(bench: Bench) -> None:
        await bench.send(payload=bytes(MAX_COMMAND_BYTES + 1))
        assert bench.refusal["code"] == "invalid_command"
        await bench.send(payload=bytes(MAX_COMMAND_BYTES))
        assert len(bench.runner.started) == 1

    run(scenario)


def test_a_refused_response_topic_is_answered_on_the_topic_of_the_command() -> None:
    async def scenario(bench: Bench) -> None:
        await bench.send(response_topic=TOPICS.command("list"))
        assert bench.published[-1].topic == TOPICS.command_result("rollback")
        assert bench.runner.started == []

    run(scenario)


def test_a_command_that_is_delivered_again_runs_once() -> None:
    async def scenario(bench: Bench) -> None:
        await bench.send()
        await bench.send()
        assert (len(bench.runner.started), bench.published) == (1, [])
        bench.runner.answer("progress", b"{}")
        bench.runner.answer("ok", b'{"done": 1}')
        await bench.send()
        assert len(bench.runner.started) == 1
        assert bench.payloads == [b"{}", b'{"done": 1}', b'{"done": 1}']

    run(scenario)


@pytest.mark.parametrize("other", [{"correlation": b"c2"}, {"response_topic": "clients/you"}])
def test_another_sender_or_another_request_runs_by_itself(other: dict[str, object]) -> None:
    async def scenario(bench: Bench) -> None:
        await bench.send()
        await bench.send(**other)
        assert len(bench.runner.started) == 2

    run(scenario)


def test_without_correlation_data_every_message_is_a_command_of_its_own() -> None:
    async def scenario(bench: Bench) -> None:
        await bench.send(correlation=None)
        await bench.send(correlation=None)
        assert len(bench.runner.started) == 2

    run(scenario)


def test_the_latest_sixty_four_commands_are_recognised() -> None:
    async def scenario(bench: Bench) -> None:
        for number in range(65):
            await bench.send(correlation=b"%d" % number)
        await bench.send(correlation=b"1")
        assert len(bench.runner.started) == 65
        await bench.send(correlation=b"0")
        assert len(bench.runner.started) == 66

    run(scenario)


def test_a_very_long_answer_is_not_repeated_and_the_command_does_not_run_again() -> None:
    async def scenario(bench: Bench) -> None:
        await bench.send()
        bench.runner.answer("ok", bytes(MAX_COMMAND_BYTES + 1))
        await bench.send()
        assert (len(bench.runner.started), len(bench.published)) == (1, 1)

    run(scenario)


def test_an_error_of_the_runner_is_the_result_and_is_repeated() -> None:
    async def scenario(bench: Bench) -> None:
        bench.runner.error = BusyError("too many commands")
        await bench.send()
        await bench.send()
        assert len(bench.runner.started) == 1
        assert bench.refusal == {"error": "too many commands", "code": "device_busy"}
        assert len(bench.published) == 2

    run(scenario)


def test_the_expiry_of_the_message_is_the_deadline_of_the_command() -> None:
    async def scenario(bench: Bench) -> None:
        before_s = asyncio.get_running_loop().time()
        await bench.send(expiry_s=100)
        await bench.send(correlation=b"c2")
        first, second = bench.runner.deadlines
        assert second is None
        assert first is not None
        assert before_s + 100 <= first <= asyncio.get_running_loop().time() + 100

    run(scenario)


def test_stopping_cancels_what_runs() -> None:
    async def scenario(bench: Bench) -> None:
        await bench.send()
        await bench.send(correlation=b"c2")
        await bench.router.stop()
        assert bench.runner.cancelled == 2

    run(scenario)


def test_results_of_other_commands_are_ignored() -> None:
    async def scenario(bench: Bench) -> None:
        bench.router.handle(Message(TOPICS.command_result("list"), b"{}"))
        assert (bench.runner.started, bench.published) == ([], [])

    run(scenario)

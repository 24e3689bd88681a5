"""Each message reaches the handler of its topic once, and is acknowledged."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from drupelet_agent.messaging.dispatcher import Dispatcher
from drupelet_agent.messaging.protocols import Acknowledge
from drupelet_agent.mqtt.message import Message
from fakes.broker_session import FakeSession


class Recorder:
    """A handler that records what it handles."""

    def __init__(self, *filters: str, error: Exception | None = None) -> None:
        self.filters = filters
        self.error = error
        self.topics: list[str] = []

    def handle(self, message: Message) -> None:
        self.topics.append(message.topic)
        if self.error is not None:
            raise self.error


class Deferring:
    """A handler that acknowledges when the test says so."""

    def __init__(self, *filters: str) -> None:
        self.filters = filters
        self.acknowledge: list[Acknowledge] = []

    def handle(self, message: Message, acknowledge: Acknowledge) -> None:
        assert message.topic
        self.acknowledge.append(acknowledge)


class Link:
    """A dispatcher on a session that is connected."""

    def __init__(self) -> None:
        self.session = FakeSession(on_connected=self._on_connected, on_message=self._on_message)
        self.dispatcher = Dispatcher(self.session)

    def _on_connected(self, *, session_present: bool) -> None:
        self.dispatcher.connected(session_present=session_present)

    def _on_message(self, message: Message) -> None:
        self.dispatcher.dispatch(message)


@pytest.fixture
def link() -> Link:
    return Link()


@pytest.mark.parametrize(
    ("topic", "names"),
    [
        ("d/command/list", ["commands"]),
        ("d/command/list/result", []),
        ("d/infer/m", ["requests"]),
        ("d/infer/m/1.0", ["requests"]),
        ("d/infer/m/1/0", []),
        ("p/pool/infer/m", ["pool"]),
        ("all", ["everything"]),
        ("all/of/it", ["everything"]),
        ("d/command/a\nb", ["commands"]),
        ("xd/command/list", []),
    ],
)
def test_a_message_reaches_the_handler_of_its_topic_alone(link: Link, topic: str, names: Sequence[str]) -> None:
    handlers = {
        "commands": Recorder("d/command/+"),
        "requests": Recorder("d/infer/+", "d/infer/+/+"),
        "pool": Recorder("$share/pool/p/pool/infer/+"),
        "everything": Recorder("all/#"),
    }
    for handler in handlers.values():
        link.dispatcher.register(handler)
    link.session.connect()
    packet_id = link.session.deliver(topic)
    assert [name for name, handler in handlers.items() if handler.topics] == names
    assert link.session.acknowledged == [packet_id]


def test_every_filter_is_subscribed_after_each_connect_and_retained_messages_only_where_they_are_handled(
    link: Link,
) -> None:
    link.dispatcher.register(Recorder("a/+"))
    link.dispatcher.register(Recorder("b/+"), retained=True)
    link.dispatcher.register_deferring(Deferring("c/+"))
    for _ in range(2):
        link.session.connect()
        assert link.session.subscriptions == {"a/+": False, "b/+": True, "c/+": False}


def test_a_retained_message_is_ignored_where_it_would_be_an_order_at_every_start(link: Link) -> None:
    order, state = Recorder("order"), Recorder("state")
    link.dispatcher.register(order)
    link.dispatcher.register(state, retained=True)
    link.session.connect()
    packet_ids = [link.session.deliver(topic, retain=True) for topic in ("order", "state")]
    assert (order.topics, state.topics) == ([], ["state"])
    assert link.session.acknowledged == packet_ids


def test_a_deferring_handler_acknowledges_in_the_order_of_delivery(link: Link) -> None:
    handler = Deferring("r")
    link.dispatcher.register_deferring(handler)
    link.session.connect()
    first, second = link.session.deliver("r"), link.session.deliver("r")
    handler.acknowledge[1]()
    assert link.session.acknowledged == []
    handler.acknowledge[0]()
    assert link.session.acknowledged == [first, second]


def test_a_message_that_is_delivered_again_is_handled_once_and_acknowledged_on_the_new_connection(link: Link) -> None:
    handler = Deferring("r")
    link.dispatcher.register_deferring(handler)
    link.session.connect()
    packet_id = link.session.deliver("r")
    link.session.lose_connection()
    handler.acknowledge[0]()
    assert link.session.acknowledged == []
    link.session.connect(session_present=True)
    assert len(handler.acknowledge) == 1
    assert link.session.acknowledged == [packet_id]


def test_a_message_of_a_lost_session_is_not_acknowledged(link: Link) -> None:
    handler = Deferring("r")
    link.dispatcher.register_deferring(handler)
    link.session.connect()
    link.session.deliver("r")
    link.session.connect(session_present=False)
    handler.acknowledge[0]()
    assert link.session.acknowledged == []


def test_a_handler_that_raises_costs_a_log_line_and_its_message_is_acknowledged(
    link: Link, caplog: pytest.LogCaptureFixture
) -> None:
    broken = Recorder("r", error=RuntimeError("broken"))
    link.dispatcher.register(broken)
    link.session.connect()
    packet_ids = [link.session.deliver("r"), link.session.deliver("r")]
    assert link.session.acknowledged == packet_ids
    assert caplog.text.count("message not handled topic=r") == 2


def test_a_message_of_qos_0_is_handled_and_not_acknowledged(link: Link) -> None:
    handler = Recorder("r")
    link.dispatcher.register(handler)
    link.session.connect()
    link.session.deliver("r", qos=0)
    assert handler.topics == ["r"]
    assert link.session.acknowledged == []


def test_what_arrives_after_the_close_stays_with_the_broker(link: Link) -> None:
    handler = Recorder("r")
    link.dispatcher.register(handler)
    link.session.connect()
    link.dispatcher.close()
    link.session.deliver("r")
    assert handler.topics == []
    assert link.session.acknowledged == []


class CountingSession(FakeSession):
    """A session that keeps every SUBSCRIBE."""

    def __init__(self, **handlers: object) -> None:
        super().__init__(**handlers)  # type: ignore[arg-type]
        self.requests: list[tuple[tuple[str, ...], bool]] = []

    def subscribe(self, *filters: str, retained: bool = False) -> None:
        self.requests.append((filters, retained))
        super().subscribe(*filters, retained=retained)


def test_each_filter_is_subscribed_once_and_only_kinds_that_exist_are_asked_for() -> None:
    session = CountingSession(on_connected=lambda **_: None, on_message=lambda _: None)
    dispatcher = Dispatcher(session)
    dispatcher.connected(session_present=False)
    assert session.requests == []
    dispatcher.register(Recorder("a/+", "b/+"))
    dispatcher.register(Recorder("c/+"), retained=True)
    dispatcher.connected(session_present=False)
    assert session.requests == [(("a/+", "b/+"), False), (("c/+",), True)]


def test_messages_without_correlation_data_are_told_apart_by_the_mark_of_the_broker_alone(link: Link) -> None:
    handler = Deferring("r")
    link.dispatcher.register_deferring(handler)
    link.session.connect()
    for correlation, handled in [(None, 2), (b"", 4), (b"c", 5)]:
        for _ in range(2):
            link.session.deliver("r", mid=500, correlation=correlation)
        assert len(handler.acknowledge) == handled


def test_a_request_with_another_response_topic_is_another_request(link: Link) -> None:
    handler = Deferring("r")
    link.dispatcher.register_deferring(handler)
    link.session.connect()
    for response_topic in ("me", "you"):
        link.session.deliver("r", mid=500, correlation=b"c", response_topic=response_topic)
    assert len(handler.acknowledge) == 2


def test_unacknowledged_messages_are_counted(link: Link) -> None:
    handler = Deferring("r")
    link.dispatcher.register_deferring(handler)
    link.session.connect()
    assert link.dispatcher.unacknowledged == 0
    link.session.deliver("r")
    assert link.dispatcher.unacknowledged == 1
    handler.acknowledge[0]()
    assert link.dispatcher.unacknowledged == 0

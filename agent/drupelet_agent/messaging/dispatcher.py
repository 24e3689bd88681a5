"""Dispatches each received message to the handler of its topic, and acknowledges it."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable
from functools import partial
from typing import NamedTuple

from drupelet_agent.messaging.acknowledgements import Acknowledgements, PendingAcknowledgement
from drupelet_agent.messaging.protocols import Acknowledge, BrokerSession, DeferringHandler, MessageHandler
from drupelet_agent.mqtt.message import Message

log = logging.getLogger(__name__)


class _Route(NamedTuple):
    """A handler, the topics it handles, and how it is subscribed."""

    topics: re.Pattern[str]
    filters: tuple[str, ...]
    handler: DeferringHandler
    retained: bool


class Dispatcher:
    """Maps topics to handlers for one MQTT session; everything runs on the event loop.

    Invariants: a message that is delivered twice is handled once as far as its identity shows it; a QoS 1 message is
    acknowledged when its handler is done, or at once if no handler takes it or its handler raises.
    """

    def __init__(self, session: BrokerSession) -> None:
        """Start without handlers.

        Args:
            session: Subscribes and acknowledges.
        """
        self._session = session
        self._acknowledgements = Acknowledgements(session.acknowledge)
        self._routes: list[_Route] = []
        self._is_closed = False

    @property
    def unacknowledged(self) -> int:
        """How many messages of QoS 1 the broker awaits the acknowledgement of."""
        return len(self._acknowledgements)

    def register(self, handler: MessageHandler, *, retained: bool = False) -> None:
        """Register a handler whose messages are acknowledged when it returns.

        Args:
            handler: Handles the topics of its filters.
            retained: Whether it handles retained messages too; without it they are ignored, since a retained order
                would be carried out again at every start.
        """
        self._add(_Acknowledging(handler), retained=retained)

    def register_deferring(self, handler: DeferringHandler) -> None:
        """Register a handler that acknowledges its messages itself."""
        self._add(handler, retained=False)

    def connected(self, *, session_present: bool) -> None:
        """Subscribe after a connect.

        Args:
            session_present: Whether the broker still has the session, and delivers again what is unacknowledged.
        """
        if session_present:
            self._acknowledgements.connection_lost()
        else:
            self._acknowledgements.session_lost()
        for retained in (False, True):
            filters = [one for route in self._routes if route.retained is retained for one in route.filters]
            if filters:
                self._session.subscribe(*filters, retained=retained)

    def close(self) -> None:
        """Handle no more messages; those that arrive stay unacknowledged with the broker, for the next agent."""
        self._is_closed = True

    def dispatch(self, message: Message) -> None:
        """Pass a message to its handler."""
        if self._is_closed:
            return
        acknowledge: Acknowledge = _acknowledge_nothing
        if message.qos > 0:
            # Without Correlation Data nothing distinguishes a repetition from another message like it.
            # A hash of them, since each can take 64 KB and a thousand identities are kept.
            correlation = message.correlation
            identity = hash((message.topic, message.response_topic, correlation)) if correlation else None
            pending = self._acknowledgements.register(message.mid, duplicate=message.dup, identity=identity)
            if pending is None:
                return
            acknowledge = partial(self._complete, pending)
        route = self._find(message.topic)
        if route is None or (message.retain and not route.retained):
            acknowledge()
            return
        try:
            route.handler.handle(message, acknowledge)
        except Exception:
            # An unacknowledged message would hold back the acknowledgements of all that follow, until the broker sends
            # nothing more.
            log.exception("message not handled topic=%s bytes=%d", message.topic, len(message.payload))
            acknowledge()

    def _complete(self, pending: PendingAcknowledgement) -> None:
        if not self._session.connected:
            # The broker delivers the message again, and is told then.
            self._acknowledgements.connection_lost()
        self._acknowledgements.complete(pending)

    def _find(self, topic: str) -> _Route | None:
        return next((route for route in self._routes if route.topics.fullmatch(topic)), None)

    def _add(self, handler: DeferringHandler, *, retained: bool) -> None:
        filters = handler.filters
        self._routes.append(_Route(_compile(filters), filters, handler, retained))


class _Acknowledging:
    """Acknowledges each message when its handler returns."""

    def __init__(self, handler: MessageHandler) -> None:
        self._handle = handler.handle
        self.filters = handler.filters

    def handle(self, message: Message, acknowledge: Acknowledge) -> None:
        """Handle a message and acknowledge it."""
        self._handle(message)
        acknowledge()


def _compile(filters: Iterable[str]) -> re.Pattern[str]:
    """Compile topic filters with `+` and `#` (MQTT 5, section 4.7), shared ones without `$share/<name>/`."""
    plain = [one.split("/", 2)[2] if one.startswith("$share/") else one for one in filters]
    return re.compile("|".join(_pattern(one) for one in plain), re.DOTALL)


def _pattern(topic_filter: str) -> str:
    levels = topic_filter.removesuffix("/#").split("/")
    pattern = "/".join("[^/]*" if level == "+" else re.escape(level) for level in levels)
    return f"{pattern}(?:/.*)?" if topic_filter.endswith("/#") else pattern


def _acknowledge_nothing() -> None:
    """Do nothing: a message of QoS 0 is not acknowledged."""

"""The format of log lines: text for a terminal, text with priorities for the journal, or JSON for programs."""

from __future__ import annotations

import json
import logging
import re
import sys
import time
from collections.abc import Mapping
from typing import Any, TextIO

from drupelet_agent.config.environment import is_journal
from drupelet_agent.config.telemetry import LogConfig

# One conversion in the template of a message, with the key in front of it if it has one: "bytes=%d".
_CONVERSION = re.compile(r"(?:\b(\w+)=)?%(?:%|[-+ #0]*\d*(?:\.\d+)?[a-zA-Z])")
# Priorities of syslog(3), which the journal reads at the start of a line (sd-daemon(3)).
_PRIORITIES = ((logging.ERROR, 3), (logging.WARNING, 4), (logging.INFO, 6), (logging.NOTSET, 7))


def set_up_logging(config: LogConfig, *, stream: TextIO | None = None) -> None:
    """Write every record to one stream, standard error by default, in the configured format."""
    stream = stream or sys.stderr
    handler = logging.StreamHandler(stream)
    handler.setFormatter(_formatter(config, stream))
    logging.basicConfig(level=config.level.upper(), handlers=[handler], force=True)


def _formatter(config: LogConfig, stream: TextIO) -> logging.Formatter:
    if config.format == "json":
        return JsonFormatter()
    try:
        return JournalFormatter() if is_journal(stream.fileno()) else TextFormatter()
    except OSError:
        return TextFormatter()


class TextFormatter(logging.Formatter):
    """Formats time in UTC, level, module and message; text from a remote side cannot start a line of its own."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s: %(message)s")

    def formatTime(self, record: logging.LogRecord, datefmt: str | None = None) -> str:  # noqa: ARG002, N802 - logging's
        """Return the time in the format of RFC 3339, to the millisecond."""
        return _timestamp(record)

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - logging's
        """Return the line without a traceback; control characters become escapes."""
        record.message = _escape(record.message)
        return super().formatMessage(record)


class JournalFormatter(logging.Formatter):
    """Formats each line with its priority; the journal itself adds the time."""

    def __init__(self) -> None:
        super().__init__("%(name)s: %(message)s")

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - logging's
        """Return the line without a traceback; control characters become escapes."""
        record.message = _escape(record.message)
        return super().formatMessage(record)

    def format(self, record: logging.LogRecord) -> str:
        """Return the message and the lines of a traceback, each with its priority in front."""
        priority = next(number for level, number in _PRIORITIES if record.levelno >= level)
        return "\n".join(f"<{priority}>{line}" for line in super().format(record).splitlines())


class JsonFormatter(logging.Formatter):
    """Formats one JSON object a line; values with a key in the template ("pid=%d") become members of `fields`."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the object."""
        document: dict[str, Any] = {
            "time": _timestamp(record),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        fields = _fields(record)
        if fields:
            document["fields"] = fields
        if record.exc_info:
            document["exception"] = self.formatException(record.exc_info)
        return json.dumps(document, default=str)


def _fields(record: logging.LogRecord) -> dict[str, Any]:
    """Return the arguments that follow `key=` in the template, by key."""
    if isinstance(record.args, Mapping) or not record.args:
        return {}
    keys = [match[1] for match in _CONVERSION.finditer(str(record.msg)) if not match[0].endswith("%%")]
    return {key: value for key, value in zip(keys, record.args, strict=False) if key is not None}


def _escape(message: str) -> str:
    if message.isprintable():
        return message
    # A line break or control character may come from a remote side, and could forge a line or control a terminal.
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in message)


def _timestamp(record: logging.LogRecord) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created)) + f".{int(record.msecs):03d}Z"

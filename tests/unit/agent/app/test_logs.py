"""How log lines look."""

from __future__ import annotations

import io
import json
import logging
import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from drupelet_agent.app.logs import set_up_logging
from drupelet_agent.config.telemetry import LogConfig

log = logging.getLogger("drupelet_agent.test")


@pytest.fixture(autouse=True)
def _root_logger_as_it_was() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)


def fail() -> None:
    raise ValueError("broken")


def written(config: LogConfig, stream: io.StringIO) -> None:
    set_up_logging(config, stream=stream)
    log.info("worker ready variant=%s pid=%d load_ms=%.0f", "fp32", 7, 12.34)


def test_text_has_the_time_in_utc_the_level_and_the_module() -> None:
    stream = io.StringIO()
    written(LogConfig(), stream)
    now, _, line = stream.getvalue().partition(" ")
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", now)
    assert line == "INFO drupelet_agent.test: worker ready variant=fp32 pid=7 load_ms=12\n"


def test_json_is_one_object_a_line_with_the_named_values_as_they_were() -> None:
    stream = io.StringIO()
    written(LogConfig(format="json"), stream)
    (line,) = stream.getvalue().splitlines()
    document = json.loads(line)
    assert document.pop("time").endswith("Z")
    assert document == {
        "level": "info",
        "logger": "drupelet_agent.test",
        "message": "worker ready variant=fp32 pid=7 load_ms=12",
        "fields": {"variant": "fp32", "pid": 7, "load_ms": 12.34},
    }


def test_json_takes_values_without_a_key_percent_signs_and_exceptions() -> None:
    stream = io.StringIO()
    set_up_logging(LogConfig(format="json"), stream=stream)
    try:
        fail()
    except ValueError:
        log.exception("100%% of %s are gone where=%s path=%s: %s", "them", "here", Path("/x"), "why")
    document = json.loads(stream.getvalue())
    assert document["message"] == "100% of them are gone where=here path=/x: why"
    assert document["fields"] == {"where": "here", "path": "/x"}
    assert "ValueError: broken" in document["exception"]


@pytest.mark.parametrize("log_format", ["text", "json"])
def test_what_came_from_outside_starts_no_line_and_moves_no_cursor(log_format: str) -> None:
    stream = io.StringIO()
    set_up_logging(LogConfig.model_validate({"format": log_format}), stream=stream)
    log.warning("ignored topic=%s", "a\n2026-01-01T00:00:00.000Z INFO forged: \x1b[2J\u2028end")
    (line,) = stream.getvalue().splitlines()
    assert "\x1b" not in line
    assert "forged" in line


def test_the_level_is_the_configured_one() -> None:
    stream = io.StringIO()
    set_up_logging(LogConfig(level="warning"), stream=stream)
    log.info("not this")
    log.warning("but this")
    assert "but this" in stream.getvalue()
    assert "not this" not in stream.getvalue()


def test_the_journal_gets_priorities_and_no_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "journal"
    with path.open("w", encoding="utf-8") as stream:
        status = os.fstat(stream.fileno())
        monkeypatch.setenv("JOURNAL_STREAM", f"{status.st_dev}:{status.st_ino}")
        set_up_logging(LogConfig(level="debug"), stream=stream)
        log.debug("a")
        log.info("b")
        log.warning("c\nd")
        try:
            fail()
        except ValueError:
            log.exception("e")
        logging.getLogger().handlers.clear()
    lines = path.read_text(encoding="utf-8").splitlines()
    prefix = "drupelet_agent.test: "
    assert lines[:4] == [f"<7>{prefix}a", f"<6>{prefix}b", f"<4>{prefix}c\\nd", f"<3>{prefix}e"]
    assert len(lines) > 5
    assert all(line.startswith("<3>") for line in lines[4:])


@pytest.mark.parametrize("told", ["", "1:2", "nonsense"])
def test_a_stream_that_is_not_the_journals_gets_text(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, told: str
) -> None:
    monkeypatch.setenv("JOURNAL_STREAM", told)
    path = tmp_path / "log"
    with path.open("w", encoding="utf-8") as stream:
        set_up_logging(LogConfig(), stream=stream)
        log.info("a")
        logging.getLogger().handlers.clear()
    assert path.read_text(encoding="utf-8")[:4].isdigit()


def test_standard_error_is_the_default() -> None:
    set_up_logging(LogConfig())
    (handler,) = logging.getLogger().handlers
    assert isinstance(handler, logging.StreamHandler)
    assert handler.stream is sys.stderr

"""The page of topics and messages."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from typing import Any

from docs_generator.markdown import code, page, table
from docs_generator.schema_page import object_part
from drupelet_shared.contract.topics import DEFAULT_PREFIX, DeviceTopics

_INTRO = f"""\
`drupelet` and the agent speak MQTT 5 under `{DEFAULT_PREFIX}/<device>`; 3.1.1 clients work too. What each topic is for,
and what readers and writers must do, is in [the MQTT contract](../mqtt-contract.md). Messages as JSON Schemas:
[messages.schema.json](../schemas/messages.schema.json), or `drupelet schema messages`. Requests and replies are those
of the Open Inference Protocol v2.
"""


def messages_page(schema: dict[str, Any]) -> str:
    """Return the topics as the code builds them, then each message."""
    topics = table(("topic", "what"), ((code(topic), what) for topic, what in _topics()))
    parts = [object_part(name, value) for name, value in schema["$defs"].items() if value]
    return page("# Topics and messages\n", _INTRO, "## Topics\n", topics, *parts)


def _topics() -> Iterator[tuple[str, str]]:
    topics = DeviceTopics("DEVICE")
    for name, member in vars(DeviceTopics).items():
        if name.startswith(("_", "parse_")):
            continue
        what = (inspect.getdoc(member) or "").splitlines()[0]
        if isinstance(member, property):
            value = getattr(topics, name)
            if isinstance(value, str) and not name.endswith("_filter"):
                yield _shown(value), what
        elif inspect.signature(member).return_annotation == "str":
            for names in _calls(member):
                yield _shown(getattr(topics, name)(*map(str.upper, names)), *names), what


def _calls(method: Callable[..., object]) -> list[list[str]]:
    """Return the arguments' names with which a method can be called: those it needs, and all."""
    _, *parameters = inspect.signature(method).parameters.values()
    needed = [parameter.name for parameter in parameters if parameter.default is parameter.empty]
    everything = [parameter.name for parameter in parameters]
    return [needed] if needed == everything else [needed, everything]


def _shown(topic: str, *names: str) -> str:
    for name in ("device", *names):
        topic = topic.replace(name.upper(), f"<{name}>")
    return topic

"""What `mqtt-contract.md` shows is what the code reads."""

from __future__ import annotations

import importlib
import re
from dataclasses import astuple
from pathlib import Path

import pytest
from pydantic import BaseModel

from drupelet_agent import errors
from drupelet_agent.commands.table import COMMANDS
from drupelet_shared.contract import commands, delivery, measuring, messages, rollouts
from drupelet_shared.contract.topics import DeviceTopics
from drupelet_shared.errors import CommandError, DrupeletError, RequestError, SourceError
from drupelet_shared.inference import decode_reply, decode_request

DOCUMENT = (Path(__file__).parents[2] / "shared/docs/mqtt-contract.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(r"^```json (\w+)\n(.*?)^```$", DOCUMENT, re.MULTILINE | re.DOTALL)


def subclasses(error: type[DrupeletError]) -> set[type[DrupeletError]]:
    return {error}.union(*map(subclasses, error.__subclasses__()))


def strict(model: type[BaseModel]) -> type[BaseModel]:
    """The same message, refusing members it does not know."""
    return type(model.__name__, (model,), {"model_config": {"extra": "forbid"}, "__module__": __name__})


def test_the_table_of_errors_lists_every_code() -> None:
    section = DOCUMENT.partition("## 5. Errors")[2].partition("## 6.")[0]
    codes = re.findall(r"^\| `(\w+)` \|", section, re.MULTILINE)
    assert sorted(codes) == sorted(error.code for error in subclasses(RequestError))


@pytest.mark.parametrize("text", [text for kind, text in EXAMPLES if kind == "request"])
def test_the_example_requests_are_understood(text: str) -> None:
    raw = b"\0" * 16 if "binary_data_size" in text else b""
    payload = text.encode() + raw
    request = decode_request(
        memoryview(payload), content_type="application/octet-stream", header_length=len(payload) - len(raw)
    )
    assert request.id == "42"
    assert request.inputs["image"].shape == (1, 1, 2, 2)


@pytest.mark.parametrize("text", [text for kind, text in EXAMPLES if kind == "reply"])
def test_the_example_replies_are_understood(text: str) -> None:
    reply = decode_reply(memoryview(text.encode()), content_type="application/json", header_length=None)
    assert reply.model_name == "digits"


@pytest.mark.parametrize(("kind", "text"), [example for example in EXAMPLES if example[0] not in {"request", "reply"}])
def test_the_example_messages_are_those_of_the_code(kind: str, text: str) -> None:
    modules = (messages, commands, measuring, delivery, rollouts)
    models = {name: model for module in modules for name, model in vars(module).items()}
    models["error"] = messages.ErrorReply
    model = models[kind]
    strict(model).model_validate_json(text)


def test_every_kind_of_message_has_an_example() -> None:
    assert {kind for kind, _ in EXAMPLES} == {
        "request",
        "reply",
        "error",
        "DeviceStatus",
        "ModelState",
        "ModelTelemetry",
        "DeviceTelemetry",
        "TelemetryHistory",
        "Event",
        "CommandProgress",
        "UploadState",
        "DesiredState",
        "DeliveryState",
        "SignedRecord",
        *(message.__name__ for exchange in commands.EXCHANGES.values() for message in astuple(exchange)),
    }


def test_the_table_of_commands_lists_those_that_run_and_no_other() -> None:
    table = DOCUMENT.partition("| command | what it does |")[2].partition("\n\n")[0]
    assert set(re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE)) == set(COMMANDS) == set(commands.EXCHANGES)


def test_every_command_leads_to_a_function() -> None:
    for command in COMMANDS.values():
        module, _, attribute = command.function.partition(":")
        assert callable(getattr(importlib.import_module(module), attribute))


def test_the_errors_of_commands_are_those_that_can_be_raised() -> None:
    section = DOCUMENT.partition("### 12.1 Errors of commands")[2].partition("## 13.")[0]
    listed = {
        code for row in re.findall(r"^\| (`.*?`) \|", section, re.MULTILINE) for code in re.findall(r"`(\w+)`", row)
    }
    roots = (CommandError, errors.StoreError, errors.PlanError, SourceError, errors.WrongPackageError)
    raised = set().union(*map(subclasses, roots))
    assert listed == {error.code for error in raised}


def test_the_table_of_topics_lists_those_that_the_code_builds() -> None:
    topics = DeviceTopics("pi-1")
    table = DOCUMENT.partition("| topic under the base |")[2].partition("\n\n")[0]
    listed = set(re.findall(r"^\| `([\w/<>]+)` \|", table, re.MULTILINE))
    model = "MODEL"
    built = {
        topics.infer(model),
        topics.infer(model, "VERSION"),
        topics.result(model),
        topics.status,
        topics.model_state(model),
        topics.model_telemetry(model),
        topics.device_telemetry,
        topics.telemetry_history,
        topics.event,
        topics.echo,
        topics.desired(model),
        topics.delivery(model),
        topics.command("NAME"),
        topics.command_result("NAME"),
        topics.upload("DIGEST"),
        topics.upload_state("DIGEST"),
    }
    assert {f"{topics.base}/{re.sub('<([a-z]+)>', lambda found: found[1].upper(), topic)}" for topic in listed} == built

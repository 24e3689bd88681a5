from __future__ import annotations

import json

import pytest

from drupelet_shared.contract.wire import encode_error, parse_content_type, peek_id, sniff_content_type
from drupelet_shared.errors import ContentTypeError, OverloadedError


@pytest.mark.parametrize(
    ("payload", "content_type"),
    [
        (b"\x89PNG\r\n\x1a\n....", "image/png"),
        (b"\xff\xd8\xff\xe0....", "image/jpeg"),
        (b'{"inputs": []}', "application/json"),
        (b' \r\n\t{"inputs": []}', "application/json"),
    ],
)
def test_a_payload_without_a_content_type_is_recognised_by_its_first_bytes(payload: bytes, content_type: str) -> None:
    assert sniff_content_type(payload) == content_type
    assert sniff_content_type(memoryview(payload)) == content_type


@pytest.mark.parametrize("payload", [b"", b"GIF89a", b"[1, 2]", bytes(8)])
def test_a_payload_that_could_be_anything_is_refused(payload: bytes) -> None:
    with pytest.raises(ContentTypeError, match=f"payload of {len(payload)} bytes without a content type"):
        sniff_content_type(payload)


def test_parameters_and_case_of_a_content_type_are_ignored() -> None:
    assert parse_content_type("Application/JSON; charset=utf-8") == "application/json"


def test_an_unknown_content_type_is_refused_with_the_known_ones() -> None:
    with pytest.raises(ContentTypeError, match=r"'text/plain': expected one of application/json, .*image/jpeg"):
        parse_content_type("text/plain")


@pytest.mark.parametrize(
    ("payload", "request_id"),
    [
        (b'{"id": "7", "inputs": []}', "7"),
        (b'\n{ "id" :"a\\"b\\u00e9"', 'a"bé'),
        (b'{"inputs": [], "id": "7"}', None),
        (b'{"id": 7}', None),
        (b'{"id": "\\ud800"}', None),
        (b'{"id": "' + b"x" * 257 + b'"}', None),
        (b"\x89PNG", None),
    ],
)
def test_an_id_is_read_from_an_unread_request_if_it_stands_first(payload: bytes, request_id: str | None) -> None:
    assert peek_id(payload) == request_id


def test_an_error_reply_has_text_code_and_the_request_id() -> None:
    reply = json.loads(encode_error(OverloadedError("queue is full"), request_id="7"))
    assert reply == {"error": "queue is full", "code": "overloaded", "id": "7"}


def test_a_very_long_error_text_is_cut() -> None:
    reply = json.loads(encode_error(OverloadedError("x" * 1_000_000), request_id=None))
    assert len(reply["error"]) == 2001
    assert "id" not in reply

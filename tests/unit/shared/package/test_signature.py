from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

from drupelet_shared.errors import SignatureInvalidError, SignatureUntrustedError
from drupelet_shared.package.oms import MAX_SIGNATURE_BYTES
from drupelet_shared.package.signature import identify_key, key_hint, sign_digests, verify_digests
from drupelet_shared.package.trust import load_public_key
from support.package.packages import write_key_pair

DIGESTS = {"a/b": "1" * 64, "a.b": "2" * 64, "manifest.json": "3" * 64}
KEY = ec.generate_private_key(ec.SECP256R1())
OTHER = ec.generate_private_key(ec.SECP256R1())
TRUSTED = identify_key(KEY.public_key())


def statement_of(signature: bytes) -> dict[str, Any]:
    payload = base64.b64decode(json.loads(signature)["dsseEnvelope"]["payload"])
    statement = json.loads(payload)
    assert isinstance(statement, dict)
    return statement


def sign_statement(statement: object) -> bytes:
    """A bundle over any statement, signed well: what a trusted but broken signer could make."""
    payload = json.dumps(statement).encode()
    kind = "application/vnd.in-toto+json"
    signed = b"DSSEv1 %d %s %d " % (len(kind), kind.encode(), len(payload)) + payload
    bundle = json.loads(sign_digests("x", DIGESTS, KEY))
    bundle["dsseEnvelope"]["payload"] = base64.b64encode(payload).decode()
    signature = KEY.sign(signed, ec.ECDSA(hashes.SHA256()))
    bundle["dsseEnvelope"]["signatures"] = [{"sig": base64.b64encode(signature).decode(), "keyid": ""}]
    return json.dumps(bundle).encode()


def test_a_signature_verifies_and_names_its_key() -> None:
    assert verify_digests(sign_digests("x", DIGESTS, KEY), DIGESTS, [TRUSTED]) == TRUSTED.id


def test_the_same_input_gives_the_same_signature() -> None:
    assert sign_digests("x", DIGESTS, KEY) == sign_digests("x", dict(reversed(DIGESTS.items())), KEY)


def test_resources_are_ordered_as_paths_and_not_as_text() -> None:
    resources = statement_of(sign_digests("x", DIGESTS, KEY))["predicate"]["resources"]
    assert [resource["name"] for resource in resources] == ["a/b", "a.b", "manifest.json"]


def test_the_key_id_is_the_sha256_of_the_public_key_file(tmp_path: Path) -> None:
    write_key_pair(tmp_path / "k")
    digest = hashes.Hash(hashes.SHA256())
    digest.update((tmp_path / "k.pub").read_bytes())
    assert load_public_key(tmp_path / "k.pub").id == digest.finalize().hex()


@pytest.mark.parametrize(
    ("found", "message"),
    [
        (DIGESTS | {"extra": "4" * 64}, "'extra' is not signed"),
        ({"manifest.json": "3" * 64}, "'a/b' is signed and missing"),
        (DIGESTS | {"a/b": "9" * 64}, "'a/b' has SHA-256 9999"),
    ],
)
def test_other_files_than_the_signed_ones_are_refused(found: dict[str, str], message: str) -> None:
    with pytest.raises(SignatureInvalidError, match=message):
        verify_digests(sign_digests("x", DIGESTS, KEY), found, [TRUSTED])


def test_a_file_the_signer_ignored_is_refused() -> None:
    statement = statement_of(sign_digests("x", DIGESTS, KEY))
    statement["predicate"]["serialization"]["ignore_paths"] = ["extra"]
    with pytest.raises(SignatureInvalidError, match="'extra' is not signed"):
        verify_digests(sign_statement(statement), DIGESTS | {"extra": "4" * 64}, [TRUSTED])


@pytest.mark.parametrize("trusted", [[], [identify_key(OTHER.public_key())]], ids=["nobody", "another key"])
def test_a_key_that_is_not_trusted_is_refused(trusted: list[Any]) -> None:
    with pytest.raises(SignatureUntrustedError, match=TRUSTED.id):
        verify_digests(sign_digests("x", DIGESTS, KEY), DIGESTS, trusted)


def test_any_of_several_trusted_keys_will_do() -> None:
    trusted = [identify_key(OTHER.public_key()), TRUSTED]
    assert verify_digests(sign_digests("x", DIGESTS, KEY), DIGESTS, trusted) == TRUSTED.id


def test_a_signature_that_claims_a_trusted_key_it_was_not_made_with_is_refused() -> None:
    bundle = json.loads(sign_digests("x", DIGESTS, OTHER))
    bundle["verificationMaterial"]["publicKey"]["hint"] = TRUSTED.id
    with pytest.raises(SignatureInvalidError, match="does not match"):
        verify_digests(json.dumps(bundle).encode(), DIGESTS, [TRUSTED])


def test_a_signature_without_a_hint_is_tried_with_every_key() -> None:
    bundle = json.loads(sign_digests("x", DIGESTS, KEY))
    del bundle["verificationMaterial"]["publicKey"]["hint"]
    data = json.dumps(bundle).encode()
    assert verify_digests(data, DIGESTS, [identify_key(OTHER.public_key()), TRUSTED]) == TRUSTED.id
    assert key_hint(data) is None


def test_a_changed_payload_is_refused() -> None:
    bundle = json.loads(sign_digests("x", DIGESTS, KEY))
    payload = base64.b64decode(bundle["dsseEnvelope"]["payload"]).replace(b"1111", b"1112", 1)
    bundle["dsseEnvelope"]["payload"] = base64.b64encode(payload).decode()
    with pytest.raises(SignatureInvalidError, match="does not match"):
        verify_digests(json.dumps(bundle).encode(), DIGESTS, [TRUSTED])


def change(path: list[Any], value: object) -> bytes:
    """A well signed statement with one field replaced."""
    statement = statement_of(sign_digests("x", DIGESTS, KEY))
    part: Any = statement
    for step in path[:-1]:
        part = part[step]
    part[path[-1]] = value
    return sign_statement(statement)


RESOURCE = {"name": "a/b", "algorithm": "sha256", "digest": "1" * 64}
STATEMENTS = {
    "another statement type": change(["_type"], "https://in-toto.io/Statement/v0.1"),
    "another predicate": change(["predicateType"], "https://slsa.dev/provenance/v1"),
    "no subject": change(["subject"], []),
    "another root digest": change(["subject", 0, "digest", "sha256"], "0" * 64),
    "shards": change(["predicate", "serialization", "method"], "shards"),
    "another hash": change(["predicate", "resources", 0, "algorithm"], "blake2b"),
    "an upper-case digest": change(["predicate", "resources", 0, "digest"], "A" * 64),
    "a file left out": change(["predicate", "resources"], [RESOURCE]),
    "resources that are no list": change(["predicate", "resources"], "a/b"),
    "no object": sign_statement([]),
}


@pytest.mark.parametrize("signature", STATEMENTS.values(), ids=STATEMENTS.keys())
def test_a_statement_that_is_not_oms_is_refused_though_it_is_signed(signature: bytes) -> None:
    with pytest.raises(SignatureInvalidError):
        verify_digests(signature, DIGESTS, [TRUSTED])


def test_a_file_signed_twice_is_refused() -> None:
    digests = {"a": "1" * 64, "b": "2" * 64}
    statement = statement_of(sign_digests("x", digests, KEY))
    statement["predicate"]["resources"][1]["name"] = "a"
    with pytest.raises(SignatureInvalidError, match="2 files under 1 names"):
        verify_digests(sign_statement(statement), {"a": "2" * 64}, [TRUSTED])


def test_a_signature_over_another_payload_type_is_refused() -> None:
    bundle = json.loads(sign_digests("x", DIGESTS, KEY))
    bundle["dsseEnvelope"]["payloadType"] = "text/plain"
    with pytest.raises(SignatureInvalidError, match="payloadType"):
        verify_digests(json.dumps(bundle).encode(), DIGESTS, [TRUSTED])


MALFORMED = {
    "empty": b"",
    "not JSON": b"-----BEGIN SIGNATURE-----",
    "not UTF-8": b'{"mediaType": "\xff"}',
    "an array": b"[]",
    "an empty object": b"{}",
    "deeply nested": b"[" * 100_000 + b"]" * 100_000,
    "deeply nested in a field": b'{"x":' * 50_000 + b"1" + b"}" * 50_000,
    "too large": b" " * (MAX_SIGNATURE_BYTES + 1),
    "no base64": sign_digests("x", DIGESTS, KEY).replace(b'"payload":"', b'"payload":"!'),
    "two signatures": sign_digests("x", DIGESTS, KEY).replace(b'"signatures":[{', b'"signatures":[{"sig":""},{'),
}


@pytest.mark.parametrize("signature", MALFORMED.values(), ids=MALFORMED.keys())
def test_a_malformed_signature_is_refused(signature: bytes) -> None:
    with pytest.raises(SignatureInvalidError):
        verify_digests(signature, DIGESTS, [TRUSTED])


def test_a_signature_over_as_many_files_as_readers_accept_is_small_enough() -> None:
    digests = {f"{index:04d}".ljust(255, "x"): "1" * 64 for index in range(1024)}
    signature = sign_digests("x", digests, KEY)
    assert len(signature) < MAX_SIGNATURE_BYTES
    assert verify_digests(signature, digests, [TRUSTED]) == TRUSTED.id

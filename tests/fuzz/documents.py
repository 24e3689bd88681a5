"""JSON documents from outside: the manifest, the signature bundle and its statement, the device's messages."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

from cryptography.hazmat.primitives.asymmetric import ec
from pydantic import ValidationError

from drupelet_agent.errors import WorkerError
from drupelet_agent.serving.workers.protocol import Failed, Infer, Ready, Replied, decode_message, encode_message
from drupelet_shared.contract.messages import ErrorReply, ModelState
from drupelet_shared.errors import ManifestError, SignatureInvalidError, SignatureUntrustedError
from drupelet_shared.package.manifest import parse_manifest
from drupelet_shared.package.oms import build_bundle, build_statement, parse_bundle, parse_statement
from drupelet_shared.package.signature import identify_key, sign_digests, verify_digests
from fuzz.mutations import mutate_bytes, mutate_json
from fuzz.target import Target
from support.agent.values import make_activation
from support.package.packages import FILES, make_manifest

_DIGESTS = {"manifest.json": "0" * 64, "a/b": "1" * 64, "a.b": "2" * 64}
_KEY = ec.generate_private_key(ec.SECP256R1())
_TRUSTED = (identify_key(_KEY.public_key()),)


def _mutate(data: bytes, random: Random, others: Sequence[bytes]) -> bytes:
    return mutate_json(data, random) if random.randrange(3) else mutate_bytes(data, random, others=others)


def check_manifest(data: bytes) -> bool:
    """A manifest comes back when written again, or is refused."""
    try:
        manifest = parse_manifest(data)
    except ManifestError:
        return False
    assert parse_manifest(manifest.to_bytes()) == manifest
    return True


def check_signature(data: bytes) -> bool:
    """A signature verifies the very files that were signed, or is refused; its parts come back when written again."""
    try:
        verify_digests(data, {**_DIGESTS, "a/b": "3" * 64}, _TRUSTED)
    except (SignatureInvalidError, SignatureUntrustedError):
        pass
    else:
        raise AssertionError("a signature over other files was accepted")
    try:
        bundle = parse_bundle(data)
        envelope = bundle.envelope
        written = build_bundle(
            envelope.payload, signature=envelope.signatures[0].sig, key_id=bundle.material.public_key.hint or ""
        )
        assert parse_bundle(written).envelope == envelope
        return check_statement(envelope.payload)
    except SignatureInvalidError:
        return False


def check_statement(data: bytes) -> bool:
    """A statement says the same files when written again, or is refused."""
    try:
        statement = parse_statement(data)
    except SignatureInvalidError:
        return False
    digests = {resource.name: resource.digest for resource in statement.predicate.resources}
    again = parse_statement(build_statement("x", digests))
    assert {resource.name: resource.digest for resource in again.predicate.resources} == digests
    return True


def check_message(data: bytes) -> bool:
    """A device's state or error reads as a message or fails validation, as the client expects."""
    taken = False
    for kind in (ModelState, ErrorReply):
        try:
            message = kind.model_validate_json(data)
        except ValidationError:
            continue
        assert kind.model_validate_json(message.to_bytes()) == message
        taken = True
    return taken


def check_worker_packet(data: bytes) -> bool:
    """A packet between parent and worker is one of ours, or a `WorkerError`."""
    try:
        decode_message(data)
    except WorkerError:
        return False
    return True


def _state() -> bytes:
    activation = make_activation()
    return ModelState(
        model="digits",
        version="1.0.0",
        release=1,
        digest="0" * 64,
        health="ready",
        variant=activation.variant,
        plan=activation.plan,
        inputs=activation.inputs,
        outputs=activation.outputs,
    ).to_bytes()


_PACKETS = (
    Ready(engine_version="1", load_ms=1.0),
    Failed(code="x", message="y"),
    Infer(slot=0, length=1, content_type=None, header_length=None, deadline_s=None),
    Infer(slot=1, length=2, content_type="a/b", header_length=3, deadline_s=4.0, payload=b"{}"),
    Replied(
        slot=1,
        length=2,
        content_type="application/json",
        header_length=None,
        code="ok",
        started_s=1.0,
        decode_ms=0.1,
        inference_ms=0.1,
        encode_ms=0.1,
    ),
)

MANIFEST = Target(name="manifest", seeds=(make_manifest(FILES).to_bytes(),), check=check_manifest, mutate=_mutate)
SIGNATURE = Target(
    name="signature", seeds=(sign_digests("digits", _DIGESTS, _KEY),), check=check_signature, mutate=_mutate
)
STATEMENT = Target(
    name="statement", seeds=(build_statement("digits", _DIGESTS),), check=check_statement, mutate=_mutate
)
MESSAGE = Target(
    name="message",
    seeds=(_state(), ErrorReply(error="e", code="c", id="1").to_bytes()),
    check=check_message,
    mutate=_mutate,
)
WORKER_PACKET = Target(
    name="worker-packet",
    seeds=tuple(encode_message(packet) for packet in _PACKETS),
    check=check_worker_packet,
    mutate=_mutate,
)

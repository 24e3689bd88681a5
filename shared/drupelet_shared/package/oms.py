"""OpenSSF Model Signing 1.0: a Sigstore bundle v0.3 around a DSSE envelope around an in-toto Statement v1.

Fields that this version of the format does not name are ignored, as it asks of its readers.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterable, Mapping
from typing import Annotated, Literal, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from drupelet_shared.contract.faults import describe_faults
from drupelet_shared.errors import SignatureInvalidError
from drupelet_shared.names import Sha256
from drupelet_shared.package.manifest import SIGNATURE_PATH

# The resources of as many files as a reader accepts, with paths as long as the format has, stay under it.
MAX_SIGNATURE_BYTES = 2**20

_BUNDLE_TYPE = "application/vnd.dev.sigstore.bundle.v0.3+json"
_PAYLOAD_TYPE = "application/vnd.in-toto+json"
_STATEMENT_TYPE = "https://in-toto.io/Statement/v1"
_PREDICATE_TYPE = "https://model_signing/signature/v1.0"


def _decode_base64(value: object) -> object:
    return base64.b64decode(value, validate=True) if isinstance(value, str) else value


_Base64 = Annotated[bytes, BeforeValidator(_decode_base64)]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class KeyIdentifier(_Part):
    """The public key that the signer names."""

    hint: str | None = None


class VerificationMaterial(_Part):
    """What a verifier needs to find the key; certificates and transparency logs are not used."""

    public_key: KeyIdentifier = Field(alias="publicKey")


class EnvelopeSignature(_Part):
    """One signature over the envelope's payload, DER."""

    sig: _Base64


class Envelope(_Part):
    """The DSSE envelope; OMS signs once."""

    payload: _Base64
    payload_type: Literal["application/vnd.in-toto+json"] = Field(alias="payloadType")
    signatures: Annotated[tuple[EnvelopeSignature, ...], Field(min_length=1, max_length=1)]


class Bundle(_Part):
    """The content of a signature file."""

    media_type: Literal["application/vnd.dev.sigstore.bundle.v0.3+json"] = Field(alias="mediaType")
    material: VerificationMaterial = Field(alias="verificationMaterial")
    envelope: Envelope = Field(alias="dsseEnvelope")


class RootDigest(_Part):
    """The SHA-256 over the digests of all resources, in their order."""

    sha256: Sha256


class Subject(_Part):
    """The signed model as a whole; its name is informative."""

    name: str
    digest: RootDigest


class Resource(_Part):
    """One signed file."""

    name: str
    algorithm: Literal["sha256"]
    digest: Sha256


class Serialization(_Part):
    """How the signer listed the model: by files. Its list of ignored paths is not read."""

    method: Literal["files"]
    hash_type: Literal["sha256"]


class Predicate(_Part):
    """The statement about the model: its files."""

    serialization: Serialization
    resources: tuple[Resource, ...]


class Statement(_Part):
    """The signed payload."""

    type: Literal["https://in-toto.io/Statement/v1"] = Field(alias="_type")
    subject: Annotated[tuple[Subject, ...], Field(min_length=1, max_length=1)]
    predicate_type: Literal["https://model_signing/signature/v1.0"] = Field(alias="predicateType")
    predicate: Predicate


_P = TypeVar("_P", bound=_Part)


def parse_bundle(data: bytes) -> Bundle:
    """Parse a signature file.

    Raises:
        SignatureInvalidError: The file is too large, is not JSON or breaks the schema.
    """
    if len(data) > MAX_SIGNATURE_BYTES:
        raise SignatureInvalidError(f"signature has {len(data)} bytes: the limit is {MAX_SIGNATURE_BYTES}")
    return _parse(Bundle, data)


def parse_statement(payload: bytes) -> Statement:
    """Parse the payload of an envelope whose signature has been checked.

    Raises:
        SignatureInvalidError: The payload is not JSON, breaks the schema, or has a root digest that differs from its
            resources.
    """
    statement = _parse(Statement, payload)
    root = _root_digest(resource.digest for resource in statement.predicate.resources)
    declared = statement.subject[0].digest.sha256
    if root != declared:
        raise SignatureInvalidError(f"signed resources hash to {root}: the statement's subject says {declared}")
    return statement


def build_statement(name: str, digests: Mapping[str, str]) -> bytes:
    """Return the payload that states the SHA-256 digests of files, by path."""
    # OMS orders files as paths and not as text: "a/b" stands before "a.b".
    paths = sorted(digests, key=lambda path: path.split("/"))
    serialization = {
        "method": "files",
        "hash_type": "sha256",
        "allow_symlinks": False,
        "ignore_paths": [SIGNATURE_PATH],
    }
    resources = [{"name": path, "algorithm": "sha256", "digest": digests[path]} for path in paths]
    statement = {
        "_type": _STATEMENT_TYPE,
        "subject": [{"name": name, "digest": {"sha256": _root_digest(digests[path] for path in paths)}}],
        "predicateType": _PREDICATE_TYPE,
        "predicate": {"serialization": serialization, "resources": resources},
    }
    return _compact_json(statement)


def build_bundle(payload: bytes, *, signature: bytes, key_id: str) -> bytes:
    """Return the signature file around a signed payload.

    Args:
        payload: The signed statement.
        signature: The signature over its pre-authentication encoding.
        key_id: The identifier of the key.

    Returns:
        The file, JSON.
    """
    bundle = {
        "mediaType": _BUNDLE_TYPE,
        "verificationMaterial": {"publicKey": {"hint": key_id}, "tlogEntries": []},
        "dsseEnvelope": {
            "payload": base64.b64encode(payload).decode("ascii"),
            "payloadType": _PAYLOAD_TYPE,
            "signatures": [{"sig": base64.b64encode(signature).decode("ascii"), "keyid": ""}],
        },
    }
    return _compact_json(bundle)


def pre_authentication(payload: bytes) -> bytes:
    """Return the bytes that are signed: DSSE's pre-authentication encoding of the payload and its type."""
    return f"DSSEv1 {len(_PAYLOAD_TYPE)} {_PAYLOAD_TYPE} {len(payload)} ".encode("ascii") + payload


def _parse(model: type[_P], data: bytes) -> _P:
    try:
        return model.model_validate_json(data)
    except ValidationError as error:
        raise SignatureInvalidError(f"signature {model.__name__.lower()}: {describe_faults(error)}") from error


def _root_digest(digests: Iterable[str]) -> str:
    return hashlib.sha256(b"".join(map(bytes.fromhex, digests))).hexdigest()


def _compact_json(value: object) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode("ascii")

"""Package signatures: ECDSA P-256 over the digests of every file, in the OpenSSF Model Signing format."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from drupelet_shared.errors import SignatureInvalidError, SignatureUntrustedError
from drupelet_shared.package.oms import (
    Bundle,
    build_bundle,
    build_statement,
    parse_bundle,
    parse_statement,
    pre_authentication,
)


@dataclass(frozen=True, slots=True)
class PublicKey:
    """A P-256 public key; `id` is OMS's key hint, the SHA-256 of its PEM form, as `sha256sum key.pub` prints it."""

    id: str
    key: ec.EllipticCurvePublicKey


def identify_key(key: ec.EllipticCurvePublicKey) -> PublicKey:
    """Return the key with its identifier."""
    pem = key.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    return PublicKey(id=hashlib.sha256(pem).hexdigest(), key=key)


def sign_digests(name: str, digests: Mapping[str, str], private_key: ec.EllipticCurvePrivateKey) -> bytes:
    """Return the signature file over a set of files; the same input gives the same bytes (RFC 6979).

    Args:
        name: The name of the set, for information.
        digests: Each file's SHA-256, in hexadecimal, by its path.
        private_key: A P-256 key.

    Returns:
        The content of the signature file.
    """
    payload = build_statement(name, digests)
    signature = private_key.sign(pre_authentication(payload), ec.ECDSA(hashes.SHA256(), deterministic_signing=True))
    return build_bundle(payload, signature=signature, key_id=identify_key(private_key.public_key()).id)


def verify_digests(signature: bytes, digests: Mapping[str, str], trusted_keys: Sequence[PublicKey]) -> str:
    """Check that a trusted key signed exactly these files, no more and no fewer.

    Paths that the statement lists as ignored are not ignored here: every file must be signed.

    Args:
        signature: The content of the signature file.
        digests: The SHA-256 of each existing file, in hexadecimal, by its path.
        trusted_keys: The keys whose signatures are accepted.

    Returns:
        The identifier of the key that signed.

    Raises:
        SignatureInvalidError: The signature is malformed, was tampered with or covers other files.
        SignatureUntrustedError: No trusted key made the signature.
    """
    bundle = parse_bundle(signature)
    signer = _find_signer(bundle, trusted_keys)
    resources = parse_statement(bundle.envelope.payload).predicate.resources
    signed = {resource.name: resource.digest for resource in resources}
    if len(signed) != len(resources):
        raise SignatureInvalidError(f"signature lists {len(resources)} files under {len(signed)} names")
    _check_same_files(signed, digests)
    return signer.id


def key_hint(signature: bytes) -> str | None:
    """Return the identifier of the key that a signature names, without checking the signature.

    Raises:
        SignatureInvalidError: The signature is malformed.
    """
    return parse_bundle(signature).material.public_key.hint


def _find_signer(bundle: Bundle, trusted_keys: Sequence[PublicKey]) -> PublicKey:
    hint = bundle.material.public_key.hint
    # Signatures made before OMS 1.1 carry no hint.
    candidates = [known for known in trusted_keys if hint in {None, "", known.id}]
    for candidate in candidates:
        if _is_signed_by(bundle, candidate):
            return candidate
    trusted = ", ".join(known.id for known in trusted_keys) or "none"
    if hint and candidates:
        raise SignatureInvalidError(f"signature does not match its content under key {hint}")
    raise SignatureUntrustedError(f"signature by key {hint or 'not named'}: trusted keys are {trusted}")


def _is_signed_by(bundle: Bundle, candidate: PublicKey) -> bool:
    envelope = bundle.envelope
    try:
        candidate.key.verify(
            envelope.signatures[0].sig, pre_authentication(envelope.payload), ec.ECDSA(hashes.SHA256())
        )
    except InvalidSignature:
        return False
    return True


def _check_same_files(signed: Mapping[str, str], present: Mapping[str, str]) -> None:
    faults = [f"{path!r} is not signed" for path in sorted(present.keys() - signed.keys())]
    faults += [f"{path!r} is signed and missing" for path in sorted(signed.keys() - present.keys())]
    faults += [
        f"{path!r} has SHA-256 {present[path]}: signed as {signed[path]}"
        for path in sorted(present.keys() & signed.keys())
        if present[path] != signed[path]
    ]
    if faults:
        raise SignatureInvalidError(f"signature covers other files: {'; '.join(faults)}")

"""The records of roll-outs: made from a state, signed and verified; and the file from which a roll-out is resumed."""

from __future__ import annotations

import hashlib
import json
from datetime import datetime
from pathlib import Path
from typing import Literal

from cryptography.hazmat.primitives.asymmetric import ec
from pydantic import TypeAdapter, ValidationError

from drupelet_host.errors import StorageError
from drupelet_host.rollout.gate import parse_gate
from drupelet_host.rollout.plan import describe_selection
from drupelet_host.rollout.state import RolloutState, WaveEntry
from drupelet_shared.contract.faults import describe_faults
from drupelet_shared.contract.rollouts import RolloutRecord, RolloutWave, SignedRecord, canonical_record
from drupelet_shared.contract.sources import shown_source
from drupelet_shared.errors import InvalidValueError, PackageError
from drupelet_shared.files import write_atomically
from drupelet_shared.package.signature import PublicKey, key_hint, sign_digests, verify_digests

SignatureState = Literal["unsigned", "not checked", "valid", "invalid", "untrusted"]

_ADAPTER = TypeAdapter(RolloutState)
# The name under which the signature lists the record's digest.
_SIGNED_NAME = "record.json"


def make_record(state: RolloutState, *, now: datetime) -> RolloutRecord:
    """Return the record of a roll-out at a time."""
    spec = state.spec
    return RolloutRecord(
        id=state.id,
        model=spec.model,
        version=spec.target.version,
        digest=spec.target.digest,
        source=shown_source(spec.target.source),
        phase=state.phase,
        reason=state.reason,
        by=state.by,
        started=state.started,
        updated=now,
        selection=describe_selection(spec),
        request=spec.model_dump(mode="json", exclude={"model", "target"}),
        gate=str(parse_gate(spec.gate)),
        devices=len(state.order),
        up_to_date=state.up_to_date,
        waves=tuple(_record_wave(state, wave) for wave in state.waves),
    )


def sign_record(record: RolloutRecord, key: ec.EllipticCurvePrivateKey | None) -> SignedRecord:
    """Return the payload of a record, signed if there is a key."""
    if key is None:
        return SignedRecord(record=record)
    digest = _digest(json.loads(record.model_dump_json(exclude_none=True)))
    signature = sign_digests(record.id, {_SIGNED_NAME: digest}, key)
    return SignedRecord(record=record, signature=signature.decode())


def check_record(payload: bytes, trusted_keys: tuple[PublicKey, ...] | None) -> tuple[SignatureState, str | None]:
    """Check the signature of a record.

    Args:
        payload: The payload with the record.
        trusted_keys: The keys that are trusted; None checks nothing.

    Returns:
        The state of the signature, and the id of the key; proven only if the state is "valid".
    """
    document = json.loads(payload)
    signature = document.get("signature")
    if not isinstance(signature, str):
        return "unsigned", None
    try:
        hint = key_hint(signature.encode())
        if trusted_keys is None:
            return "not checked", hint
        digest = _digest(document.get("record"))
        return "valid", verify_digests(signature.encode(), {_SIGNED_NAME: digest}, trusted_keys)
    except PackageError as error:
        return ("untrusted" if error.code == "signature_untrusted" else "invalid"), None


def save_state(path: Path, state: RolloutState) -> None:
    """Write the state of a roll-out, readable for its owner alone because sources may carry tokens.

    Raises:
        StorageError: The file cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, _ADAPTER.dump_json(state), mode=0o600)
    except OSError as error:
        raise StorageError(
            f"state of the roll-out {path}: {error.strerror}: name another folder with --state"
        ) from error


def load_state(path: Path) -> RolloutState:
    """Read the state of a roll-out.

    Raises:
        InvalidValueError: The file cannot be read or is malformed.
    """
    try:
        return _ADAPTER.validate_json(path.read_bytes())
    except OSError as error:
        raise InvalidValueError(f"state of the roll-out {path}: {error.strerror}") from error
    except ValidationError as error:
        raise InvalidValueError(f"state of the roll-out {path}: {describe_faults(error)}") from error


def _record_wave(state: RolloutState, wave: WaveEntry) -> RolloutWave:
    phases = [entry.phase for entry in state.devices.values() if entry.wave == wave.number]
    return RolloutWave(
        number=wave.number,
        until=wave.until,
        phase=wave.phase,
        devices=len(phases),
        healthy=phases.count("healthy"),
        failed=phases.count("failed"),
        offline=phases.count("offline"),
        rolled_back=phases.count("rolled_back"),
        started=wave.started,
        ended=wave.ended,
        results=tuple(wave.results),
    )


def _digest(record: dict[str, object]) -> str:
    return hashlib.sha256(canonical_record(record)).hexdigest()

"""Reads the desired state of a model from a message, and keeps the desired states on disk."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from pydantic import ValidationError

from drupelet_shared.contract.delivery import MAX_DESIRED_BYTES, DesiredState
from drupelet_shared.contract.faults import describe_faults
from drupelet_shared.errors import DesiredStateError, SourceError
from drupelet_shared.files import write_atomically


def read_desired(model: str, payload: bytes) -> DesiredState:
    """Return the desired state in a message.

    Raises:
        DesiredStateError: The message is malformed or too long.
        SourceError: The source carries a password or cannot be opened.
    """
    if len(payload) > MAX_DESIRED_BYTES:
        raise DesiredStateError(f"desired state of {model}: {len(payload)} bytes, the limit is {MAX_DESIRED_BYTES}")
    try:
        # Who wrote it changes nothing on the device, so it must not make two desired states differ either.
        return DesiredState.model_validate_json(payload).model_copy(update={"rollout": None})
    except ValidationError as error:
        raise DesiredStateError(f"desired state of {model}: {describe_faults(error)}") from error


def load_desired(path: Path) -> dict[str, DesiredState]:
    """Return the desired states in a file, by model; none if it cannot be read.

    An unreadable file loses nothing for good: the broker sends its retained messages again with the next new session.
    """
    try:
        document = json.loads(path.read_bytes())
        return {model: DesiredState.model_validate(desired) for model, desired in document.items()}
    except (OSError, ValueError, AttributeError, SourceError):
        return {}


def save_desired(path: Path, states: Mapping[str, DesiredState]) -> None:
    """Replace a file by these desired states; only the agent may read it, since sources may carry tokens.

    Raises:
        OSError: The file cannot be written.
    """
    document = {model: desired.model_dump(exclude_none=True) for model, desired in sorted(states.items())}
    write_atomically(path, json.dumps(document).encode(), mode=0o600)

"""The faults of a document in one line."""

from __future__ import annotations

from pydantic import ValidationError


def describe_faults(error: ValidationError) -> str:
    """Return all faults of a validation in one line: "where: what; where: what"."""
    return "; ".join(
        f"{'.'.join(map(str, fault['loc'])) or 'document'}: {fault['msg']}"
        for fault in error.errors(include_url=False, include_context=False, include_input=False)
    )

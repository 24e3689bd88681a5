"""A manifest that two readers could read differently is refused."""

from __future__ import annotations

import json
from collections.abc import Mapping

import pytest
from pydantic import JsonValue

from drupelet_shared.errors import ManifestError
from drupelet_shared.package.manifest import parse_manifest
from support.package.packages import FILES, make_manifest

_PASS = {"name": "prune", "parameters": {}, "metrics": {}, "seconds": 1.0, "parent": None, "digest": "0" * 64}


def manifest_text(**changes: object) -> str:
    """A valid manifest's text, with members replaced."""
    document: Mapping[str, JsonValue] = json.loads(make_manifest(FILES).to_bytes())
    return json.dumps({**document, **changes})


def test_a_manifest_as_written_by_the_packager_is_read() -> None:
    manifest = make_manifest(FILES)
    assert parse_manifest(manifest.to_bytes()) == manifest


@pytest.mark.parametrize("release", [True, 1.0, "1"])
def test_a_release_that_is_no_integer_is_refused(release: object) -> None:
    with pytest.raises(ManifestError, match="release: Input should be a valid integer"):
        parse_manifest(manifest_text(release=release).encode())


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_number_that_is_not_finite_is_refused_in_the_parameters_of_a_pass(value: float) -> None:
    text = manifest_text(lineage=[{**_PASS, "parameters": {"ratio": value}}])
    with pytest.raises(ManifestError, match="is not a JSON number"):
        parse_manifest(text.encode())


def test_a_number_that_overflows_is_refused() -> None:
    text = manifest_text(lineage=[{**_PASS, "parameters": {"ratio": 1}}]).replace('"ratio": 1', '"ratio": 1e999')
    with pytest.raises(ManifestError, match="number 1e999 is too large"):
        parse_manifest(text.encode())


def test_a_key_that_appears_twice_is_refused() -> None:
    text = manifest_text().replace('"release":', '"release": 7, "release":', 1)
    with pytest.raises(ManifestError, match="key 'release' appears more than once"):
        parse_manifest(text.encode())


def test_nesting_beyond_the_parser_is_refused() -> None:
    with pytest.raises(ManifestError, match="nesting is too deep"):
        parse_manifest(b"[" * 200_000)

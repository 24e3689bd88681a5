"""References of tables are imported when they are used."""

from __future__ import annotations

import json

import pytest

from drupelet_shared.contract.references import load_reference


def test_a_reference_is_the_attribute_of_its_module() -> None:
    assert load_reference("json:dumps") is json.dumps


def test_a_module_that_is_absent_is_an_import_error() -> None:
    with pytest.raises(ImportError, match="nowhere_to_be_found"):
        load_reference("nowhere_to_be_found:x")


def test_an_attribute_that_is_absent_is_named() -> None:
    with pytest.raises(AttributeError, match="absent"):
        load_reference("json:absent")

"""Faults of documents are told in the words of a document, not of Python."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import BaseModel, ValidationError

from drupelet_shared.contract.faults import describe_faults, list_faults


class Inner(BaseModel):
    size: int = 0


class Document(BaseModel):
    path: Path = Path()
    name: str = ""
    section: Inner = Inner()
    sections: dict[str, Inner] = {}
    pair: tuple[int, int] = (0, 0)
    numbers: list[int] = []
    distinct: frozenset[int] = frozenset()


@pytest.mark.parametrize(
    ("document", "fault"),
    [
        ({"path": {}}, "path: expected a path, as text"),
        ({"name": 3}, "name = 3: expected text"),
        ({"section": 3}, "section = 3: expected a table"),
        ({"section": [1]}, "section = [1]: expected a table"),
        ({"sections": "x"}, "sections = 'x': expected a table"),
        ({"pair": 3}, "pair = 3: expected a list"),
        ({"numbers": "x"}, "numbers = 'x': expected a list"),
        ({"distinct": 1.5}, "distinct = 1.5: expected a list"),
    ],
)
def test_another_type_is_told_as_the_document_has_it(document: dict[str, object], fault: str) -> None:
    with pytest.raises(ValidationError) as raised:
        Document.model_validate(document)
    assert list_faults(raised.value, document=document, model=Document) == [fault]
    assert describe_faults(raised.value) == f"{next(iter(document))}: {fault.partition(': ')[2]}"

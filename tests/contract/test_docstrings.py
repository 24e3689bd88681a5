"""Docstrings document what a caller hands in, gets back and must catch."""

from __future__ import annotations

from pathlib import Path

import pytest

from support.source.docstrings import find_docstring_faults
from support.source.tree import REPOSITORY, package_modules


def test_public_functions_and_constructors_are_documented() -> None:
    faults = {str(module): find_docstring_faults(REPOSITORY / module) for module in package_modules()}

    assert {module: found for module, found in faults.items() if found} == {}


@pytest.mark.parametrize(
    ("source", "fault"),
    [
        ('def f(a, b, c):\n    """Do it."""', "f: Args lacks a, b, c"),
        ('def f(a, b, c):\n    """Do it.\n\n    Args:\n        a: A.\n        b: B.\n    """', "f: Args lacks c"),
        ('def f(a, *, b, c=1) -> None:\n    """Do it."""', "f: Args lacks a, b, c"),
        (
            'def f(a, b, c) -> int:\n    """Do it.\n\n    Args:\n        a: A.\n        b: B.\n        c: C.\n    """',
            "f: has no Returns",
        ),
        ('def f():\n    """Do it."""\n    raise ValueError("no")', "f: has no Raises for ValueError"),
        (
            'class C:\n    """It."""\n\n    def __init__(self, a):\n        self.a = a',
            "C: constructor parameters without a description: a",
        ),
        ('@dataclass\nclass C:\n    """It."""\n\n    a: int\n    b: int\n    c: int', "C: Attributes lacks a, b, c"),
        ('class C:\n    """It."""\n\n    def f(self, a, b, c):\n        """Do it."""', "C.f: Args lacks a, b, c"),
    ],
)
def test_what_a_docstring_leaves_out_is_a_fault(tmp_path: Path, source: str, fault: str) -> None:
    path = tmp_path / "module.py"
    path.write_text(source, encoding="utf-8")

    assert [found.partition(": ")[2] for found in find_docstring_faults(path)] == [fault]


@pytest.mark.parametrize(
    "source",
    [
        'def f(a, b):\n    """Do it."""',
        "def _f(a, b, c):\n    raise ValueError",
        'def f(a, b, c) -> int:\n    """Return it.\n\n    Args:\n        a: A.\n        b: B.\n        c: C.\n    """',
        'def f(a, b, c) -> int:\n    """Compute it; see `Protocol.f`."""',
        'def f(a, b, c) -> None:\n    """Do it.\n\n    Args:\n        a: A.\n        b: B.\n        c: C.\n    """',
        'class C:\n    """It.\n\n    Args:\n        a: A.\n    """\n\n    def __init__(self, a):\n        self.a = a',
        'class C:\n    def __init__(self, a):\n        """Set up.\n\n        Args:\n            a: A.\n        """',
        'def f():\n    """Do it."""\n    def inner():\n        raise ValueError("no")',
    ],
)
def test_what_a_reader_can_guess_needs_no_section(tmp_path: Path, source: str) -> None:
    path = tmp_path / "module.py"
    path.write_text(source, encoding="utf-8")

    assert find_docstring_faults(path) == []

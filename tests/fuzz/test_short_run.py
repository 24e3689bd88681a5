"""A short run over every fuzz target: hypothesis picks the seed and the changes and shrinks what breaks a target.

`make fuzz` runs the same targets over millions of inputs.
"""

from __future__ import annotations

from pathlib import Path
from random import Random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fuzz.mutations import mutate_json
from fuzz.runner import run
from fuzz.target import Target
from fuzz.targets import TARGETS

# Pillow warns of damaged EXIF data, which is no reason to refuse an image.
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")
TARGET = pytest.mark.parametrize("target", TARGETS.values(), ids=TARGETS)


@TARGET
def test_the_seeds_are_taken_but_for_the_keys_on_other_curves(target: Target) -> None:
    taken = [target.check(seed) for seed in target.seeds]
    assert taken == ([True, False, False] if target.name == "key" else [True] * len(taken))


@TARGET
@settings(deadline=None, max_examples=100, suppress_health_check=[HealthCheck.too_slow])
@given(number=st.integers(0, 2**32))
def test_changed_inputs_are_taken_or_refused_with_an_error_of_ours(target: Target, number: int) -> None:
    random = Random(number)
    for _ in range(5):
        target.check(target.next_input(random))


@TARGET
@settings(deadline=None, max_examples=50, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.binary(max_size=200))
def test_arbitrary_bytes_are_taken_or_refused_with_an_error_of_ours(target: Target, data: bytes) -> None:
    target.check(data)


def test_a_fault_is_counted_and_its_first_input_kept(tmp_path: Path) -> None:
    def check(data: bytes) -> bool:
        if len(data) > 5:
            raise ZeroDivisionError("found")
        return True

    broken = Target(name="broken", seeds=(b"12345",), check=check)
    report = run(broken, inputs=200, seed=1, keep=tmp_path)
    assert set(report.faults) == {"ZeroDivisionError: found"}
    assert 0 < report.faults["ZeroDivisionError: found"] < report.inputs
    assert [len(path.read_bytes()) > 5 for path in tmp_path.iterdir()] == [True]


def test_changed_json_is_still_json_and_differs() -> None:
    random = Random(0)
    changed = {mutate_json(b'{"a": [1, 2, {"b": null}]}', random) for _ in range(200)}
    assert len(changed) > 50

from __future__ import annotations

import pytest

from drupelet_host.selection.variants import JUDGED, KINDS


@pytest.mark.parametrize("variant", KINDS)
def test_a_device_accepts_rounding_of_its_processor_and_no_wrong_answer(variant: str) -> None:
    kind = KINDS[variant]

    lowest, highest = (1e-4, 1e-2) if kind.arithmetic == "float" else (1e-2, 0.1)
    assert lowest < kind.golden_tolerance < highest


@pytest.mark.parametrize("variant", KINDS)
def test_the_id_of_a_variant_ends_with_its_precision(variant: str) -> None:
    assert variant.endswith(f"-{KINDS[variant].precision}")


@pytest.mark.parametrize("engine", JUDGED)
def test_a_search_judges_int8_first_and_float_else(engine: str) -> None:
    assert [KINDS[variant].arithmetic for variant in JUDGED[engine]] == ["int8", "float"]

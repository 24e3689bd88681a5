from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.comparison.features import MARKS, PRODUCT, read_features, render_features

FEATURES = read_features()

TABLE = """
[bases]
tool = "https://example.org/"

[[table]]
title = "A table"
columns = ["drupelet", "tool"]

[[table.row]]
feature = "flies"
"drupelet" = {own}
"tool" = {other}
"""


def read(folder: Path, *, own: str = '["no", "here:README.md", ""]', other: str = '["yes", "tool:wings", ""]') -> str:
    path = folder / "features.toml"
    path.write_text(TABLE.format(own=own, other=other), encoding="utf-8")
    return render_features(read_features(path))


def test_every_feature_has_a_cell_with_a_source_for_every_tool() -> None:
    for table in FEATURES.tables:
        for feature, cells in table.rows.items():
            assert tuple(cells) == table.columns, feature
            for column, cell in cells.items():
                assert cell.mark in MARKS, f"{feature}: {column}"
                assert cell.source, f"{feature}: {column}"


def test_the_products_own_cells_rest_on_files_that_exist() -> None:
    for table in FEATURES.tables:
        assert table.columns[0] == PRODUCT
        for feature, cells in table.rows.items():
            path = cells[PRODUCT].own_path
            assert path is not None, feature
            assert path.is_file(), f"{feature}: {path}"


def test_others_cells_rest_on_their_own_documents() -> None:
    for table in FEATURES.tables:
        for feature, cells in table.rows.items():
            others = {column: cell for column, cell in cells.items() if column != PRODUCT}
            for column, cell in others.items():
                assert cell.own_path is None, f"{feature}: {column}"
                assert FEATURES.url(cell.source).startswith("https://"), f"{feature}: {column}"


def test_what_others_have_and_the_product_has_not_is_said_first(tmp_path: Path) -> None:
    assert "Other tools have, and drupelet lacks: flies." in read(tmp_path)
    behind = [line for line in render_features(FEATURES).splitlines() if line.startswith("Other tools have, and")]
    assert len(behind) == len(FEATURES.tables)
    assert not any(line.endswith(": .") for line in behind)


def test_a_mark_of_others_is_a_link_and_an_own_mark_has_the_number_of_its_file(tmp_path: Path) -> None:
    text = read(tmp_path, other='["partly", "tool:wings", "downhill"]')
    assert "| flies | no <sup>1</sup> | [partly](https://example.org/wings) |" in text
    assert "- *flies.* tool: downhill." in text
    assert text.endswith("1. `README.md`")


@pytest.mark.parametrize(
    ("other", "fault"),
    [
        ('["yes", "", ""]', "flies: tool: source ''"),
        ('["yes", "nobody:wings", ""]', "flies: tool: source 'nobody:wings'"),
        ('["yes", "tool:", ""]', "flies: tool: source 'tool:'"),
        ('["perhaps", "tool:wings", ""]', "flies: tool: mark 'perhaps'"),
    ],
)
def test_a_cell_without_a_known_mark_or_source_is_refused(tmp_path: Path, other: str, fault: str) -> None:
    with pytest.raises(ValueError, match=fault):
        read(tmp_path, other=other)


def test_a_missing_cell_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "features.toml"
    path.write_text(TABLE.replace('"tool" = {other}', "").format(own='["no", "here:README.md", ""]'), encoding="utf-8")
    with pytest.raises(ValueError, match="flies: tool"):
        read_features(path)

"""Files are read a block at a time: the same blocks however they were written, and never held whole."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pruneguard.scoring.layout import Layout, layout
from pruneguard.scoring.reading import Block, blocks, header


def read(path: Path, *, rows: int, skip: int = 0, keep: tuple[str, ...] = ()) -> list[Block]:
    names = header(path)
    shape = (len(names) - len(keep),)
    return list(blocks(path, _layout(names, shape, keep), rows=rows, skip=skip, read=lambda done, of: None))


def _layout(names: list[str], shape: tuple[int, ...], keep: tuple[str, ...]) -> Layout:
    return layout(names, shape=shape, keep=keep)


def numbers(found: list[Block]) -> list[list[int]]:
    return [block.numbers for block in found]


@pytest.mark.parametrize("group", [1, 3, 4, 100])
def test_blocks_do_not_hang_on_how_a_file_was_written(tmp_path: Path, group: int) -> None:
    table = pa.table({"a": np.arange(10.0), "b": np.arange(10.0), "id": [str(at) for at in range(10)]})
    pq.write_table(table, tmp_path / "rows.parquet", row_group_size=group)
    found = read(tmp_path / "rows.parquet", rows=4, keep=("id",))
    assert numbers(found) == [[1, 2, 3, 4], [5, 6, 7, 8], [9, 10]]
    assert [block.kept["id"] for block in found][2] == ["8", "9"]
    assert np.stack(found[1].rows).tolist() == [[4, 4], [5, 5], [6, 6], [7, 7]]


@pytest.mark.parametrize("skip", [0, 1, 3, 4])
def test_blocks_that_are_skipped_change_no_number(tmp_path: Path, skip: int) -> None:
    (tmp_path / "rows.csv").write_text("a,b\n" + "1,2\n" * 10)
    assert numbers(read(tmp_path / "rows.csv", rows=3, skip=skip)) == [[1, 2, 3], [4, 5, 6], [7, 8, 9], [10]][skip:]


def test_an_empty_line_of_a_csv_is_no_row_and_a_byte_order_mark_no_name(tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_bytes(b"\xef\xbb\xbfa,b\r\n1,2\r\n\r\n3,4\r\n")
    (found,) = read(tmp_path / "rows.csv", rows=5)
    assert (found.numbers, found.bad) == ([1, 2], [])


def test_a_quoted_cell_may_hold_a_line_end_and_is_kept_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text('a,b,id\n1,2,"one\ntwo"\n3,4,x\n')
    (found,) = read(tmp_path / "rows.csv", rows=5, keep=("id",))
    assert found.kept == {"id": ["one\ntwo", "x"]}
    assert found.numbers == [1, 2]


def test_columns_of_text_in_a_parquet_are_told_row_by_row(tmp_path: Path) -> None:
    pq.write_table(pa.table({"a": ["1", "x"], "b": [1, 2]}), tmp_path / "rows.parquet")
    (found,) = read(tmp_path / "rows.parquet", rows=5)
    assert found.numbers == [1]
    assert found.bad == [(2, "'a' is 'x', not a number")]


def test_a_file_is_never_held_whole(tmp_path: Path) -> None:
    rows = np.random.default_rng(0).random(100_000)
    with pq.ParquetWriter(tmp_path / "rows.parquet", pa.schema([("a", pa.float64())])) as writer:
        for _ in range(40):
            writer.write_table(pa.table({"a": rows}))
    before, most = pa.total_allocated_bytes(), 0
    held = blocks(tmp_path / "rows.parquet", _layout(["a"], (1,), ()), rows=8_192, skip=0, read=lambda done, of: None)
    for _ in held:
        most = max(most, pa.total_allocated_bytes() - before)
    assert most < (tmp_path / "rows.parquet").stat().st_size / 4

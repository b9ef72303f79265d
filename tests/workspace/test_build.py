"""What building a workspace writes as its rows come, and what it keeps of them."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from lbsf_core.workspace.build import write_segments


def _part(rows: list[tuple[int, str, float]]) -> pa.Table:
    sample, merchant, attribution = zip(*rows, strict=True) if rows else ((), (), ())
    return pa.table(
        {
            "sample": pa.array(sample, pa.int32()),
            "merchant": pa.array(merchant, pa.string()),
            "attribution": pa.array(attribution, pa.float64()),
        }
    )


def test_the_top_merchant_of_a_sample_that_two_parts_share_is_its_first_highest(
    tmp_path: Path,
) -> None:
    parts = [
        _part([(0, "a", -0.5), (0, "b", -0.1), (2, "c", 0.2), (2, "d", 0.7)]),
        _part([]),
        _part([(2, "e", 0.7), (2, "f", 0.1), (3, "g", 0.3), (3, "h", 0.4)]),
        _part([(3, "i", 0.9)]),
    ]
    top = write_segments(iter(parts), tmp_path / "merchants.parquet")
    assert top["sample"].tolist() == [0, 2, 3]
    assert top["top_merchant"].tolist() == ["b", "d", "i"]
    assert top["top_attribution"].tolist() == [-0.1, 0.7, 0.9]
    assert pq.read_table(tmp_path / "merchants.parquet") == pa.concat_tables(parts)


def test_a_store_without_any_payment_has_no_top_merchant(tmp_path: Path) -> None:
    top = write_segments(iter([_part([])]), tmp_path / "merchants.parquet")
    assert top.columns.tolist() == ["sample", "top_merchant", "top_attribution"]
    assert top.empty

"""Ids pasted and uploaded: read as they are, each once, and what can't be read is said."""

from __future__ import annotations

import io

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from lbsf_core.errors import LbsfError
from lbsf_core.workspace import ids as module
from lbsf_core.workspace.ids import ids_of, ids_of_file


def parquet(**columns: list) -> bytes:
    out = io.BytesIO()
    pq.write_table(pa.table(columns), out)
    return out.getvalue()


def test_pasted_ids() -> None:
    assert ids_of("u 1, u2;u2\n\n007\tx\r\n") == ("u 1", "u2", "007", "x")
    assert ids_of(" \n ") == ()


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("a.csv", b"\xef\xbb\xbfname,user_id\nAnn,u1\nBob,007\nBob,007\n"),
        ("a.csv", b"User;score\nu1;3\n007;4\nshort\n\n"),
        ("a.txt", b"u1\n007\n"),
        ("A.PARQUET", parquet(score=[1, 2, 3], customer_id=["u1", None, "007"])),
    ],
)
def test_files_of_ids(name: str, data: bytes) -> None:
    found = ids_of_file(data, name)
    assert tuple(one for one in found if one != "short") == ("u1", "007")


def test_what_is_no_file_of_ids(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(LbsfError, match="none of its columns"):
        ids_of_file(parquet(score=[1]), "a.parquet")
    for name, data in (("a.parquet", b"PAR1 no"), ("a.csv", b"\xff\xfe\x00")):
        with pytest.raises(LbsfError, match="can't be read"):
            ids_of_file(data, name)
    monkeypatch.setattr(module, "MOST", 2)
    with pytest.raises(LbsfError, match="3 ids are more than 2"):
        ids_of("a,b,c")

"""One test for each fault of raw input that the ingest must meet, named by its number."""

from __future__ import annotations

import gzip
import itertools
import os
import random
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from lbsf_core.errors import IngestError, LbsfError
from lbsf_core.payments import inspection
from lbsf_core.payments.ingest import ingest
from lbsf_core.payments.schema import read_metadata
from tests.payments.raw_files import SIMPLE, data_bytes, mapping, read, rejects, write


def _left(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_fault_03_sql_in_a_merchant_is_text(tmp_path: Path) -> None:
    evil = tmp_path / "evil.txt"
    merchant = f"'; COPY (SELECT 1) TO '{evil}'; --"
    raw = write(tmp_path / "raw.csv", f'a,2020-01-01,"{merchant}",-1')
    ingest([raw], mapping(), tmp_path / "out.parquet")
    assert read(tmp_path / "out.parquet", "merchant_raw") == [(merchant,)]
    assert not evil.exists()


def test_fault_03_sql_in_a_column_name_a_word_and_a_file_name_is_text(tmp_path: Path) -> None:
    column = "m'); DROP TABLE staged; --"
    raw = write(
        tmp_path / "it's [1] ?.csv", "a,2020-01-01,x' y,-1", header=f"user,date,{column},amount"
    )
    rules = mapping(
        merchant_=f'columns = "{column}"', words=f'[words."{column}"]\n"x\' y" = "it\'s"'
    )
    out = tmp_path / "it's [2] ?.parquet"
    assert ingest([raw], rules, out).kept == 1
    rows = pq.read_table(out).to_pylist()
    assert [(row["merchant"], row["merchant_raw"]) for row in rows] == [("its", "x' y")]


def test_fault_05_zero_width_and_bidi_characters_stay_in_the_raw_text(tmp_path: Path) -> None:
    merchant = "Te\u200bs\u202eco\ufeff"
    raw = write(tmp_path / "raw.csv", f"a,2020-01-01,{merchant},-1")
    ingest([raw], mapping(), tmp_path / "out.parquet")
    assert read(tmp_path / "out.parquet", "merchant, merchant_raw") == [("tesco", merchant)]


def test_fault_06_one_merchant_in_many_spellings(tmp_path: Path) -> None:
    names = ["Café Nero #12", "CAFE\u0301 NERO 0482", "cafe-nero", "Cafe  Nero."]
    rows = [f"a,2020-01-0{i + 1},{name},-1" for i, name in enumerate(names)]
    summary = ingest([write(tmp_path / "raw.csv", *rows)], mapping(), tmp_path / "out.parquet")
    assert summary.merchants == 1
    assert read(tmp_path / "out.parquet", "merchant") == [("cafe nero",)] * 4
    assert [raw for (raw,) in read(tmp_path / "out.parquet", "merchant_raw")] == names


@pytest.mark.parametrize("amount", ["NaN", "nan", "inf", "-Infinity", "1e400", "-1e400"])
def test_fault_07_amounts_that_are_not_finite(tmp_path: Path, amount: str) -> None:
    raw = write(tmp_path / "raw.csv", "a,2020-01-01,x,-1", f"a,2020-01-02,x,{amount}")
    out = tmp_path / "out.parquet"
    summary = ingest([raw], mapping(), out, max_reject_share=0.5)
    assert (summary.kept, summary.rejected) == (1, {"not a finite number": 1})
    assert rejects(out) == [("raw.csv", 3, "amount", amount, "not a finite number")]


def test_fault_07_amounts_that_are_not_finite_in_parquet(tmp_path: Path) -> None:
    table = pa.table(
        {
            "user": ["a"] * 4,
            "date": ["2020-01-01"] * 4,
            "merchant": ["x"] * 4,
            "amount": [float("nan"), float("-inf"), None, -1.5],
        }
    )
    pq.write_table(table, tmp_path / "raw.parquet")
    out = tmp_path / "out.parquet"
    ingest([tmp_path / "raw.parquet"], mapping(file='decimal = ","'), out, max_reject_share=1)
    assert read(out, "amount") == [(-1.5,)]
    assert rejects(out) == [
        ("raw.parquet", 1, "amount", "nan", "not a finite number"),
        ("raw.parquet", 2, "amount", "-inf", "not a finite number"),
        ("raw.parquet", 3, "amount", "", "no amount"),
    ]


def test_fault_07_amounts_that_a_double_cannot_hold_to_the_cent(tmp_path: Path) -> None:
    raw = write(tmp_path / "raw.csv", "a,2020-01-01,x,9999999999999.99", "a,2020-01-01,x,-1e13")
    summary = ingest([raw], mapping(), tmp_path / "out.parquet", max_reject_share=0.5)
    assert summary.rejected == {"too large to be held to the hundredth": 1}
    assert read(tmp_path / "out.parquet", "amount") == [(9999999999999.99,)]


def test_fault_08_a_decimal_comma_needs_a_word_in_the_mapping(tmp_path: Path) -> None:
    raw = write(
        tmp_path / "raw.csv",
        *[f"a;2020-01-0{i + 1};x;{x}" for i, x in enumerate(["1,10", "-1.234,5", "1.10", "7"])],
        header="user;date;merchant;amount",
    )
    out = tmp_path / "out.parquet"
    summary = ingest([raw], mapping(file='separator = ";"'), out, max_reject_share=1)
    assert read(out, "amount") == [(1.1,), (7.0,)]
    assert [row[3] for row in rejects(out)] == ["1,10", "-1.234,5"]
    assert list(summary.rejected.values()) == [2]
    german = mapping(file='separator = ";"\ndecimal = ","\nthousands = "."')
    ingest([raw], german, out, max_reject_share=1)
    assert read(out, "amount") == [(1.1,), (-1234.5,), (7.0,)]
    assert [row[3] for row in rejects(out)] == ["1.10"]


def test_fault_09_several_currencies_are_never_summed(tmp_path: Path) -> None:
    header = "user,date,merchant,amount,ccy"
    rows = ["a,2020-01-01,x,-1,GBP", "a,2020-01-02,x,-2,gbp", "a,2020-01-03,x,-3,EUR"]
    raw = write(tmp_path / "raw.csv", *rows, header=header)
    out = tmp_path / "out.parquet"
    with pytest.raises(IngestError, match=r"GBP \(2\), EUR \(1\).*only = \"GBP\""):
        ingest([raw], mapping(currency='column = "ccy"'), out)
    assert _left(tmp_path) == {"raw.csv"}
    summary = ingest([raw], mapping(currency='column = "ccy"\nonly = "GBP"'), out)
    assert (summary.kept, summary.currency) == (2, "GBP")
    assert summary.rejected == {}
    assert list(summary.left_out.values()) == [1]
    assert read_metadata(out).currency == "GBP"


def test_fault_10_null_zero_and_refund_have_a_rule(tmp_path: Path) -> None:
    amounts = ["", "0", "-0", "5.00", "-5.00"]
    rows = [f"a,2020-01-0{i + 1},x,{amount}" for i, amount in enumerate(amounts)]
    raw, out = write(tmp_path / "raw.csv", *rows), tmp_path / "out.parquet"
    summary = ingest([raw], mapping(), out, max_reject_share=0.5)
    assert summary.rejected == {"no amount": 1}
    assert [str(amount) for (amount,) in read(out, "amount")] == ["0.0", "0.0", "5.0", "-5.0"]
    summary = ingest([raw], mapping(amount='null = "zero"\nzero = "drop"'), out)
    assert (summary.kept, summary.rejected) == (2, {})
    assert summary.left_out == {"left out by the mapping: zero amount": 3}


def test_fault_12_the_mapping_can_set_the_dates_that_are_believed(tmp_path: Path) -> None:
    dates = ["2019-12-31", "2020-01-01", "2020-06-30", "2020-07-01"]
    raw = write(tmp_path / "raw.csv", *[f"a,{date},x,-1" for date in dates])
    rules = mapping(time="minimum = 2020-01-01\nmaximum = 2020-06-30")
    summary = ingest([raw], rules, tmp_path / "out.parquet", max_reject_share=1)
    assert summary.rejected == {"date after 2020-06-30": 1, "date before 2020-01-01": 1}
    assert summary.kept == 2


LOCAL = 'column = "date"\nformats = ["%Y-%m-%d %H:%M"]\n'


def test_fault_11_local_times_need_a_zone(tmp_path: Path) -> None:
    raw = write(tmp_path / "raw.csv", "a,2020-01-01 10:00,x,-1")
    with pytest.raises(IngestError, match=r"column 'date' holds local times.*timezone ="):
        ingest([raw], mapping(time_=LOCAL), tmp_path / "out.parquet")


@pytest.mark.parametrize(
    ("zone", "local", "utc", "odd"),
    [
        ("Europe/London", "2024-07-01 12:00", "2024-07-01 11:00:00+00", (0, 0)),
        ("Europe/London", "2024-10-27 00:59", "2024-10-26 23:59:00+00", (0, 0)),
        ("Europe/London", "2024-10-27 01:00", "2024-10-27 00:00:00+00", (1, 0)),
        ("Europe/London", "2024-10-27 01:59", "2024-10-27 00:59:00+00", (1, 0)),
        ("Europe/London", "2024-10-27 02:00", "2024-10-27 02:00:00+00", (0, 0)),
        ("Europe/London", "2024-03-31 00:59", "2024-03-31 00:59:00+00", (0, 0)),
        ("Europe/London", "2024-03-31 01:30", "2024-03-31 01:30:00+00", (0, 1)),
        ("Europe/London", "2024-03-31 02:00", "2024-03-31 01:00:00+00", (0, 0)),
        ("Australia/Lord_Howe", "2024-04-07 01:45", "2024-04-06 14:45:00+00", (1, 0)),
        ("Antarctica/Troll", "2022-10-30 02:30", "2022-10-30 00:30:00+00", (1, 0)),
        ("America/New_York", "2024-11-03 01:30", "2024-11-03 05:30:00+00", (1, 0)),
        ("Asia/Kolkata", "2024-11-03 01:30", "2024-11-02 20:00:00+00", (0, 0)),
    ],
)
def test_fault_11_local_times_are_stored_in_utc_and_odd_ones_counted(
    tmp_path: Path, zone: str, local: str, utc: str, odd: tuple[int, int]
) -> None:
    raw, out = write(tmp_path / "raw.csv", f"a,{local},x,-1"), tmp_path / "out.parquet"
    summary = ingest([raw], mapping(time_=LOCAL + f'timezone = "{zone}"'), out)
    assert read(out, "timestamp") == [(utc,)]
    assert (summary.ambiguous_times, summary.skipped_times) == odd


def test_fault_11_a_time_that_names_its_offset_needs_no_zone(tmp_path: Path) -> None:
    raw = write(tmp_path / "raw.csv", "a,2020-01-01 10:00 +02:00,x,-1")
    rules = mapping(time_='column = "date"\nformats = ["%Y-%m-%d %H:%M %z"]')
    ingest([raw], rules, tmp_path / "out.parquet")
    assert read(tmp_path / "out.parquet", "timestamp") == [("2020-01-01 08:00:00+00",)]


def test_fault_12_dates_in_1900_and_in_the_future_are_quarantined(tmp_path: Path) -> None:
    dates = ["1900-01-01", "1969-12-31", "1970-01-01", "2020-02-30", "9999-12-31", ""]
    rows = [f"a,{date},x,-1" for date in dates]
    raw, out = write(tmp_path / "raw.csv", *rows), tmp_path / "out.parquet"
    summary = ingest([raw], mapping(), out, max_reject_share=1)
    assert read(out, "timestamp") == [("1970-01-01 00:00:00+00",)]
    assert summary.rejected == {
        "date before 1970-01-01": 2,
        "date in the future": 1,
        "no date": 1,
        "no date in the format ['%Y-%m-%d']": 1,
    }
    assert [(line, value) for _, line, _, value, _ in rejects(out)] == [
        (2, "1900-01-01"),
        (3, "1969-12-31"),
        (5, "2020-02-30"),
        (6, "9999-12-31"),
        (7, ""),
    ]


ROWS = ["a,2020-01-01,x,-1", "a,2020-01-01,x,-1", "b,2020-01-02,y,-2"]


@pytest.mark.parametrize(("rule", "kept"), [("drop", 2), ("per-file", 3)])
def test_fault_13_the_same_file_or_row_twice_changes_nothing(
    tmp_path: Path, rule: str, kept: int
) -> None:
    rules = mapping(top=f'duplicates = "{rule}"')
    raw = write(tmp_path / "raw.csv", *ROWS)
    same_bytes = write(tmp_path / "copy.csv", *ROWS)
    same_rows = write(tmp_path / "more.csv", *reversed(ROWS), "c,2020-01-03,z,-3")
    once, twice, more = (tmp_path / f"{name}.parquet" for name in ("once", "twice", "more"))
    assert ingest([raw], rules, once).kept == kept
    summary = ingest([raw, same_bytes, raw], rules, twice)
    assert (summary.kept, summary.read, summary.files_given_twice) == (kept, 3, 2)
    assert read(once) == read(twice)
    summary = ingest([raw, same_rows], rules, more)
    assert (summary.kept, summary.read, summary.duplicates) == (kept + 1, 7, 7 - kept - 1)


def test_fault_13_a_payment_id_counts_once_and_real_twins_stay(tmp_path: Path) -> None:
    header = "user,date,merchant,amount,id"
    rows = [
        "a,2020-01-01,x,-1,1",
        "a,2020-01-01,x,-1,2",
        "a,2020-01-01,x,-1,1",
        "a,2020-01-02,late,-9,3",
        "a,2020-01-01,early,-9,3",
    ]
    rules = mapping(columns='payment_id = "id"')
    outs = []
    for number, order in enumerate((rows, rows[::-1])):
        raw, out = (
            write(tmp_path / "raw.csv", *order, header=header),
            tmp_path / f"{number}.parquet",
        )
        summary = ingest([raw], rules, out)
        assert (summary.kept, summary.duplicates, summary.conflicts) == (3, 2, 1)
        outs.append(read(out, "merchant"))
    assert outs == [[("early",), ("x",), ("x",)]] * 2


def test_fault_14_any_order_of_rows_and_files_gives_the_same_bytes(tmp_path: Path) -> None:
    generator = random.Random(14)
    rows = [
        f"u{generator.randrange(300)},2020-{1 + i % 12:02d}-{1 + i % 28:02d},"
        f"Shop {generator.randrange(200)} é,{generator.randrange(-99999, 99999) / 100}"
        for i in range(150_000)
    ]
    out = tmp_path / "out.parquet"
    ingest([write(tmp_path / "raw.csv", *rows)], mapping(), out)
    expected, data = read(out), data_bytes(out)
    generator.shuffle(rows)
    ingest([write(tmp_path / "raw.csv", *rows)], mapping(), out)
    assert read(out) == expected
    assert data_bytes(out) == data
    parts = [write(tmp_path / f"{i}.csv", *rows[i::3]) for i in range(3)]
    whole = set()
    for order in itertools.permutations(parts):
        ingest(list(order), mapping(), out)
        assert data_bytes(out) == data
        whole.add(out.read_bytes())
    assert len(whole) == 1


def test_fault_17_a_compressed_bomb_is_stopped(tmp_path: Path) -> None:
    raw = tmp_path / "raw.csv.gz"
    with gzip.open(raw, "wb", compresslevel=9) as file:
        file.write(b"user,date,merchant,amount\n")
        for _ in range(160):
            file.write(b"a,2020-01-01,x,-1\n" * 30_000)
    with pytest.raises(IngestError, match="decompresses to more than 200 times its size"):
        ingest([raw], mapping(), tmp_path / "out.parquet")
    assert _left(tmp_path) == {"raw.csv.gz"}


@pytest.mark.parametrize("kind", ["csv", "careful", "parquet"])
def test_fault_17_more_rows_than_allowed_are_stopped(tmp_path: Path, kind: str) -> None:
    rows = [f"a,2020-01-01,x,{i}" for i in range(20)]
    if kind == "parquet":
        raw = tmp_path / "raw.parquet"
        table = pa.table({name: ["1"] * 20 for name in ("user", "date", "merchant", "amount")})
        pq.write_table(table, raw)
    else:
        raw = write(tmp_path / "raw.csv", *rows, *([""] if kind == "careful" else []))
    with pytest.raises(IngestError, match="rows"):
        ingest([raw], mapping(), tmp_path / "out.parquet", max_rows=19)
    assert _left(tmp_path) == {raw.name}


@pytest.mark.parametrize(
    ("name", "row"),
    [
        ("never closed", 'a,2020-01-02,"x,-1'),
        ("closed by a later line", 'a,2020-01-02,"x,-1\na,2020-01-03,"y",-1'),
        ("text after the quote", 'a,2020-01-02,"x"y,-1'),
        ("a long tail", 'a,2020-01-02,"x,-1\n' + "a,2020-01-03,y,-1\n" * 20_000),
    ],
)
def test_fault_18_an_unclosed_quote_names_its_line(tmp_path: Path, name: str, row: str) -> None:
    raw = write(tmp_path / "raw.csv", "a,2020-01-01,x,-1", row)
    with pytest.raises(IngestError, match=r"raw\.csv, line 3: .*quote") as caught:
        ingest([raw], mapping(), tmp_path / "out.parquet")
    assert caught.value.exit_code == 2, name
    assert _left(tmp_path) == {"raw.csv"}


def test_fault_18_a_field_of_50_mb(tmp_path: Path) -> None:
    raw = write(tmp_path / "raw.csv", "a,2020-01-01,x,-1", f"a,2020-01-02,{'x' * 50_000_000},-1")
    with pytest.raises(IngestError, match=r"raw\.csv, line 3: is longer than"):
        ingest([raw], mapping(), tmp_path / "out.parquet")
    assert _left(tmp_path) == {"raw.csv"}


def test_fault_19_a_wrong_encoding_names_the_line(tmp_path: Path) -> None:
    rows = [f"a,2020-01-01,shop {i},-1" for i in range(70_000)]
    rows[54_321] = "a,2020-01-01,Café,-1"
    raw, out = write(tmp_path / "raw.csv", *rows, encoding="cp1252"), tmp_path / "out.parquet"
    with pytest.raises(IngestError, match=r"line 54323, character 17: the bytes e9 are not utf-8"):
        ingest([raw], mapping(), out)
    assert _left(tmp_path) == {"raw.csv"}
    ingest([raw], mapping(file='encoding = "cp1252"'), out)
    assert ("Café",) in read(out, "merchant_raw")


def test_fault_19_no_mojibake_when_utf8_is_called_something_else(tmp_path: Path) -> None:
    raw = write(tmp_path / "raw.csv", "a,2020-01-01,x,-1", "a,2020-01-01,Café,-1")
    with pytest.raises(IngestError, match=r"line 3: this file is UTF-8, the mapping says cp1252"):
        ingest([raw], mapping(file='encoding = "cp1252"'), tmp_path / "out.parquet")
    utf16 = write(tmp_path / "wide.csv", "a,2020-01-01,Café,-1", encoding="utf-16")
    ingest([utf16], mapping(file='encoding = "utf-16"'), tmp_path / "out.parquet")
    assert read(tmp_path / "out.parquet", "merchant_raw") == [("Café",)]


KILLED = """
import os, sys
from pathlib import Path
from lbsf_core import files
from lbsf_core.payments.ingest import ingest
from lbsf_core.payments.mapping import parse_mapping
step, raw, out, text = int(sys.argv[1]), *map(Path, sys.argv[2:4]), sys.argv[4]
calls = 0
def at_step(path, fsync=files._fsync):
    global calls
    calls += 1
    if calls == step:
        os._exit(9)
    fsync(path)
files._fsync = at_step
ingest([raw], parse_mapping(text, "test.toml"), out)
"""


def test_fault_22_killed_at_any_write_step_leaves_the_old_or_the_new(tmp_path: Path) -> None:
    out = tmp_path / "out" / "payments.parquet"
    raw = write(tmp_path / "raw.csv", "a,2020-01-01,old,-1")
    ingest([raw], mapping(), out)
    write(raw, "a,2020-01-01,new,-1")
    seen = []
    for step in range(1, 7):
        command = [sys.executable, "-c", KILLED, str(step), str(raw), str(out), SIMPLE]
        code = subprocess.run(command, check=False, env=os.environ, cwd=Path.cwd()).returncode
        [(merchant,)] = read(out, "merchant")
        seen.append((code, merchant))
    assert {merchant for _, merchant in seen} == {"old", "new"}
    assert seen[0] == (9, "old")
    assert seen[-1] == (0, "new")


def test_fault_23_a_disk_that_is_full_leaves_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "payments.parquet"
    raw = write(tmp_path / "raw.csv", "a,2020-01-01,old,-1")
    ingest([raw], mapping(), out)
    write(raw, "a,2020-01-01,new,-1")

    def full(path: Path) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("lbsf_core.files._fsync", full)
    with pytest.raises(LbsfError, match="No space left on device"):
        ingest([raw], mapping(), out)
    assert read(out, "merchant") == [("old",)]
    assert _left(tmp_path) == {"payments.parquet", "payments.rejects.parquet", "raw.csv"}


def test_fault_23_a_folder_that_takes_nothing(tmp_path: Path) -> None:
    raw = write(tmp_path / "raw.csv", "a,2020-01-01,x,-1")
    with pytest.raises(IngestError, match="can't write here"):
        ingest([raw], mapping(), raw / "out.parquet")


def test_rejects_beyond_the_share_stop_with_examples_and_no_output(tmp_path: Path) -> None:
    raw = write(tmp_path / "raw.csv", *ROWS, "a,2020-01-01,x,much")
    with pytest.raises(IngestError, match=r"1 of 4 rows \(25\.0%\).*\n.*line 5.*'much'"):
        ingest([raw], mapping(), tmp_path / "out.parquet")
    assert _left(tmp_path) == {"raw.csv"}


def test_the_careful_reader_and_arrow_agree(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = [
        'a,2020-01-01,"x, ""y""",-1',
        "a,2020-01-02,z",
        "a,2020-01-03,,-1",
        'b,2020-01-04,"",-1,5',
        "b,2020-01-05,é,-2.5",
    ]
    raw = write(tmp_path / "raw.csv", *rows)
    rules = mapping(merchant='missing = "keep"')
    assert inspection.inspect(raw, rules.file, 100).plain
    found = []
    for careful in (False, True):
        if careful:
            monkeypatch.setattr(inspection.PlainLines, "holds", lambda *_, **__: False)
        out = tmp_path / "out.parquet"
        ingest([raw], rules, out, max_reject_share=1)
        found.append((read(out), rejects(out), out.read_bytes()))
    assert found[0] == found[1]
    assert [(line, reason) for _, line, _, _, reason in found[0][1]] == [
        (3, "3 cells, the header has 4"),
        (5, "5 cells, the header has 4"),
    ]


def test_the_line_of_a_reject_is_true_after_line_ends_inside_cells(tmp_path: Path) -> None:
    rows = ['a,2020-01-01,"x\ny\nz",-1', "", "a,2020-01-02,x,bad"]
    raw, out = write(tmp_path / "raw.csv", *rows), tmp_path / "out.parquet"
    summary = ingest([raw], mapping(), out, max_reject_share=0.5)
    assert [row[:4] for row in rejects(out)] == [("raw.csv", 6, "amount", "bad")]
    assert summary.read == 2

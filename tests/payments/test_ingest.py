"""The rules of a mapping, on small files with expected values."""

from __future__ import annotations

import gzip
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lbsf_core.errors import IngestError
from lbsf_core.payments.ingest import ingest
from lbsf_core.payments.mapping import parse_mapping
from lbsf_core.payments.schema import PAYMENT_COLUMNS, Field, FieldKind, read_metadata
from tests.payments.raw_files import SIMPLE, mapping, read, rejects, write


def test_one_file_from_end_to_end(tmp_path: Path) -> None:
    text = (
        SIMPLE.replace('user = "user"', 'user = ["bank", "user"]\ndescription = ["d1", "d2"]')
        + '[currency]\ncode = "GBP"\n'
        + '[[extra]]\nname = "balance"\nkind = "amount"\n'
        + '[[extra]]\nname = "kind"\ncolumn = "type"\nkind = "category"\n'
        + '[[extra]]\nname = "booked"\nkind = "timestamp"\nformats = ["%d.%m.%Y"]\n'
    )
    header = "bank,user,date,merchant,amount,d1,d2,balance,type,booked"
    raw = write(
        tmp_path / "raw.csv",
        " B ,2,2020-01-02,Tesco #12,-1.50, card ,food,,,",
        "B,1,2020-01-01,Shell,3,,,10.25,x,05.01.2020",
        header=header,
    )
    out = tmp_path / "out.parquet"
    told: list[tuple[str, int]] = []
    summary = ingest(
        [raw],
        parse_mapping(text, "t"),
        out,
        progress=lambda words, rows: told.append((words, rows)),
    )
    assert pq.read_schema(out).names == [*PAYMENT_COLUMNS, "balance", "kind", "booked"]
    first, second = "2020-01-01 00:00:00+00", "2020-01-02 00:00:00+00"
    assert read(out) == [
        ("B-1", "shell", "Shell", "", first, 3.0, "GBP", 10.25, "x", "2020-01-05 00:00:00+00"),
        ("B-2", "tesco", "Tesco #12", "card food", second, -1.5, "GBP", None, "", None),
    ]
    assert rejects(out) == []
    metadata = read_metadata(out)
    assert metadata.extra_fields == (
        Field("balance", FieldKind.AMOUNT),
        Field("kind", FieldKind.CATEGORY),
        Field("booked", FieldKind.TIMESTAMP),
    )
    assert (metadata.currency, metadata.timezone, metadata.simulated) == ("GBP", "UTC", False)
    assert [(source["name"], source["rows"]) for source in metadata.sources] == [("raw.csv", 2)]
    assert (summary.read, summary.kept, summary.users, summary.merchants) == (2, 2, 2, 2)
    assert summary.first == datetime(2020, 1, 1, tzinfo=UTC)
    assert ("dates", "2020-01-01 to 2020-01-02") in summary.rows()
    assert told == [("reading raw.csv", 2), ("counting once, sorting, writing", 2)]


AMOUNTS = "user,date,merchant,amount,type,out,into"


@pytest.mark.parametrize(
    ("rule", "expected", "reasons"),
    [
        ('column = "amount"', [-5.0, 1.0, 2.0, 3.0, 4.0], {}),
        ('column = "amount"\nsign = "inverted"', [-4.0, -3.0, -2.0, -1.0, 5.0], {}),
        (
            'column = "amount"\nsign = "words"\ndirection = "type"\nout_words = ["Debit"]\n'
            'in_words = ["credit"]',
            [-1.0, 2.0],
            {"negative amount beside a direction": 1, "no word of `out_words` or `in_words`": 2},
        ),
        (
            'sign = "two-columns"\nout_column = "out"\nin_column = "into"',
            [-7.0, 8.0, 9.0],
            {"money in and money out in one row": 1, "no amount": 1},
        ),
    ],
)
def test_sign_rules(
    tmp_path: Path, rule: str, expected: list[float], reasons: dict[str, int]
) -> None:
    raw = write(
        tmp_path / "raw.csv",
        "a,2020-01-01,x,1,DEBIT,7,",
        "a,2020-01-01,x,2, credit ,,8",
        "a,2020-01-01,x,3,other,,",
        "a,2020-01-01,x,4,,1,1",
        "a,2020-01-01,x,-5,debit,0,9",
        header=AMOUNTS,
    )
    out = tmp_path / "out.parquet"
    summary = ingest([raw], mapping(amount_=rule), out, max_reject_share=1)
    assert [amount for (amount,) in read(out, "amount")] == expected
    assert summary.rejected == reasons


def test_merchant_columns_fallback_and_words(tmp_path: Path) -> None:
    raw = write(
        tmp_path / "raw.csv",
        "a,2020-01-01,YZ,123456,Cash,-1",
        "a,2020-01-02,YZ,0,Cash ,-1",
        "a,2020-01-03,,,,-1",
        header="user,date,bank,account,kind,amount",
    )
    rule = 'columns = ["bank", "account"]\nfallback = "kind"\nnumbers = "keep"\n'
    words = '[words.account]\n"0" = ""\n[words.kind]\ncash = "withdrawal in cash"'
    out = tmp_path / "out.parquet"
    summary = ingest([raw], mapping(SIMPLE + words, merchant_=rule), out, max_reject_share=0.5)
    names = [("yz 123456", "YZ 123456"), ("withdrawal in cash", "Cash ")]
    assert read(out, "merchant, merchant_raw") == names
    assert summary.rejected == {"no merchant": 1}
    keep = mapping(SIMPLE + words, merchant_=rule + 'missing = "keep"')
    ingest([raw], keep, out)
    assert read(out, "merchant, merchant_raw") == [*names, ("(no merchant)", "")]


@pytest.mark.parametrize(
    ("formats", "text", "utc"),
    [
        (["%y%m%d"], "960728", "1996-07-28 00:00:00+00"),
        (["%y%m%d"], "96728", None),
        (["%Y-%m-%d", "%d/%m/%Y"], "28/07/1996", "1996-07-28 00:00:00+00"),
        (["%Y-%m-%d"], "1996-07-28 10:00", None),
        (["epoch_s"], "838512000", "1996-07-28 00:00:00+00"),
        (["epoch_ms"], "838512000500", "1996-07-28 00:00:00.5+00"),
        (["epoch_s"], "1e30", None),
        (["epoch_s"], "x", None),
    ],
)
def test_date_formats(tmp_path: Path, formats: list[str], text: str, utc: str | None) -> None:
    raw = write(tmp_path / "raw.csv", "a,x,1,1", f"a,{text},x,1", header="z,date,merchant,amount")
    raw.write_text(raw.read_text().replace("z,", "user,", 1))
    rules = mapping(time_=f'column = "date"\nformats = {formats}\ntimezone = "UTC"')
    if utc is None:
        with pytest.raises(IngestError, match="None of the 2 rows is a payment"):
            ingest([raw], rules, tmp_path / "out.parquet", max_reject_share=1)
    else:
        ingest([raw], rules, tmp_path / "out.parquet", max_reject_share=0.5)
        assert read(tmp_path / "out.parquet", "timestamp") == [(utc,)]


def test_dates_are_shifted_before_they_are_judged(tmp_path: Path) -> None:
    raw = write(tmp_path / "raw.csv", "a,2120-05-17,x,-1")
    shift = 'column = "date"\nformats = ["%Y-%m-%d"]\ntimezone = "UTC"\nshift_years = -100'
    ingest([raw], mapping(time_=shift), tmp_path / "out.parquet")
    assert read(tmp_path / "out.parquet", "timestamp") == [("2020-05-17 00:00:00+00",)]


def test_text_files_of_every_kind(tmp_path: Path) -> None:
    rows = ["user,date,merchant,amount", "a,2020-01-01,x,-1", "b,2020-01-02,y,-2"]
    text = "\n".join(rows)
    expected = None
    for name, content in {
        "comma.csv": text.encode(),
        "bom.csv": text.encode("utf-8-sig"),
        "crlf.csv": text.replace("\n", "\r\n").encode(),
        "tab.tsv": text.replace(",", "\t").encode(),
        "tab.tsv.gz": gzip.compress(text.replace(",", "\t").encode()),
        "zip.csv.gz": gzip.compress(text.encode()),
        "quoted.csv": ('"' + text.replace(",", '","').replace("\n", '"\n"') + '"').encode(),
    }.items():
        raw, out = tmp_path / name, tmp_path / "out.parquet"
        raw.write_bytes(content)
        assert ingest([raw], mapping(), out).read == 2, name
        expected = expected or read(out)
        assert read(out) == expected, name
    bare = tmp_path / "bare.csv"
    bare.write_text("\n".join(rows[1:]))
    ingest([bare], mapping(file='columns = ["user", "date", "merchant", "amount"]'), out)
    assert read(out) == expected


def test_parquet_keeps_its_own_types(tmp_path: Path) -> None:
    raw, out = tmp_path / "raw.parquet", tmp_path / "out.parquet"
    for kind, utc in (
        (pa.timestamp("us"), "2020-07-01 11:00:00+00"),
        (pa.timestamp("ns", "America/New_York"), "2020-07-01 12:00:00+00"),
        (pa.date32(), "2020-06-30 23:00:00+00"),
    ):
        when = pa.array([datetime(2020, 7, 1, 12)], pa.timestamp("us")).cast(kind)
        names = pa.array(["Shop"]).dictionary_encode()
        pq.write_table(
            pa.table({"user": [7], "date": when, "merchant": names, "amount": [-5]}), raw
        )
        ingest([raw], mapping(time_='column = "date"\ntimezone = "Europe/London"'), out)
        assert read(out, "user_id, merchant, timestamp, amount") == [("7", "shop", utc, -5.0)]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b"user,date,merchant\n", r"has no column 'amount', which the mapping test\.toml|test"),
        (b"user,date,merchant,amount,amount\n", "has 2 columns called 'amount'"),
        (b"user,date,merchant,amount\n", "None of the 0 rows"),
        (b"PK\x03\x04", "ZIP archive or a workbook"),
        (b"PAR1 no", "no readable Parquet"),
        (b"\x1f\x8b\x08\x00 no", "damaged or cut short"),
        (gzip.compress(b"user,date,merchant,amount\n" * 9, mtime=0)[:-9], "damaged or cut short"),
    ],
)
def test_files_that_hold_no_payments(tmp_path: Path, content: bytes, message: str) -> None:
    raw = tmp_path / "raw.csv"
    raw.write_bytes(content)
    with pytest.raises(IngestError, match=message):
        ingest([raw], mapping(), tmp_path / "out.parquet")
    assert [path.name for path in tmp_path.iterdir()] == ["raw.csv"]


def test_no_file_and_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(IngestError, match="name at least one"):
        ingest([], mapping(), tmp_path / "out.parquet")
    with pytest.raises(IngestError, match="no such file"):
        ingest([tmp_path / "raw.csv"], mapping(), tmp_path / "out.parquet")
    raw = write(tmp_path / "raw.csv", "a,2020-01-01,x,-1")
    with pytest.raises(IngestError, match="memory limit is a size"):
        ingest([raw], mapping(), tmp_path / "out.parquet", memory_limit="lots")


rows = st.lists(
    st.tuples(
        st.sampled_from("abc"),
        st.sampled_from(["2020-01-01", "2020-01-02"]),
        st.text("xY é'\",\n#1", min_size=1, max_size=5),
        st.integers(-300, 300),
    ),
    min_size=1,
    max_size=12,
)


@settings(deadline=None, max_examples=25)
@given(rows, st.randoms(use_true_random=False), st.sampled_from(["drop", "per-file"]))
def test_any_order_and_any_quoting_gives_the_same_payments(
    tmp_path_factory: pytest.TempPathFactory,
    payments: list[tuple[str, str, str, int]],
    random: object,
    rule: str,
) -> None:
    folder = tmp_path_factory.mktemp("order")
    rules = mapping(top=f'duplicates = "{rule}"', merchant='missing = "keep"')
    seen = []
    for _ in range(2):
        lines = [
            f'{user},{date},"{merchant.replace(chr(34), chr(34) * 2)}",{cents / 100}'
            for user, date, merchant, cents in payments
        ]
        raw, out = write(folder / "raw.csv", *lines), folder / "out.parquet"
        summary = ingest([raw], rules, out)
        assert summary.read == len(payments) == summary.kept + summary.duplicates
        assert summary.kept == len(payments if rule == "per-file" else set(payments))
        seen.append(read(out))
        random.shuffle(payments)  # type: ignore[attr-defined]
    assert seen[0] == seen[1]
    if rule == "per-file":
        assert sum(round(row[5] * 100) for row in seen[0]) == sum(row[3] for row in payments)

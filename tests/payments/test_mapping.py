"""Mappings: what ships reads, and every mistake names its key and a remedy."""

from __future__ import annotations

from pathlib import Path

import pytest

from lbsf_core.errors import IngestError
from lbsf_core.payments.mapping import load_mapping, named_mappings, parse_mapping
from tests.payments.raw_files import SIMPLE, mapping


def test_the_mappings_that_ship_read() -> None:
    assert named_mappings() == ("berka", "berka-1993", "birmingham")
    for name in named_mappings():
        assert load_mapping(name).name == name
    labels = load_mapping("birmingham").labels
    assert labels is not None
    assert labels.choose(None).name == "label_stop60"
    assert labels.choose("label_drop120").proxy
    with pytest.raises(IngestError, match=r"'label_x'; this mapping has \['label_stop60'"):
        labels.choose("label_x")


def test_both_berka_exports_give_the_same_fields() -> None:
    first, second = load_mapping("berka"), load_mapping("berka-1993")
    assert [(x.name, x.kind) for x in first.extras] == [(x.name, x.kind) for x in second.extras]


def test_a_mapping_is_read_from_a_file(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(SIMPLE, encoding="utf-8")
    assert load_mapping(path) == load_mapping(str(path)) == parse_mapping(SIMPLE, str(path))
    with pytest.raises(IngestError, match=r"ship with lbsf \(berka, berka-1993, birmingham\)"):
        load_mapping(tmp_path / "other.toml")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"top": "nonsense"}, "is no TOML"),
        ({"top": "duplicate = 'drop'"}, "`duplicate` is no key here; did you mean `duplicates`"),
        ({"top": "duplicates = 'keep'"}, r"`duplicates` is 'keep'; choose one of \['drop'"),
        ({"columns_": "usr = 'a'"}, "`columns.user` is missing; give a text"),
        ({"merchant_": "columns = []"}, "`merchant.columns` is missing"),
        ({"merchant": "numbers = true"}, "`merchant.numbers` is True; give a text"),
        ({"time_": "column = 'date'\nformats = ['YYYY']"}, "`time.formats` 'YYYY' is no strptime"),
        ({"time_": "column = 'd'\nformats = ['%d', '%d %z']"}, "some name an offset"),
        ({"time": "shift_years = 1.5"}, "`time.shift_years` is 1.5; give a whole number"),
        ({"time": "minimum = '2020-01-01'"}, "`time.minimum` is '2020-01-01'; give a date"),
        ({"time_": "column = 'd'\ntimezone = 'Mars/Base'"}, "`time.timezone` 'Mars/Base' is no"),
        ({"amount": "sign = 'words'"}, "`amount.direction` is missing"),
        (
            {
                "amount": "sign = 'words'\ndirection = 'd'\nout_words = ['x', 'Y']\n"
                "in_words = ['y ']"
            },
            r"`amount.out_words` \['y'\] also stand in `in_words`",
        ),
        ({"currency": "code = 'pound'"}, "`currency.code` 'pound' is no ISO 4217 code"),
        ({"currency": "code = 'GBP'\ncolumn = 'x'"}, "stands beside `column`"),
        ({"currency": "only = 'GBP'"}, "`currency.only` needs `column`"),
        ({"file": "encoding = 'utf-9'"}, "`file.encoding` 'utf-9' is no text encoding"),
        ({"file": "encoding = 'base64'"}, "`file.encoding` 'base64' is no text encoding"),
        ({"file": "decimal = ';'"}, "`file.decimal` give '.' or ','"),
        ({"file": "thousands = '.'"}, "`file.thousands` differs from `decimal`"),
        ({"file": "separator = '||'"}, r"`file.separator` is '\|\|'; give one character"),
        ({"extra": "name = 'x'"}, "`extra` is .*; give tables"),
        ({"labels": "user = 'u'"}, "`labels.label` give at least one"),
    ],
)
def test_a_mistake_names_its_key_and_a_remedy(changes: dict[str, str], message: str) -> None:
    with pytest.raises(IngestError, match=message):
        mapping(**changes)


@pytest.mark.parametrize("name", ["amount", "User_ID", "_x", "a b", "1"])
def test_extra_fields_need_a_name_of_their_own(name: str) -> None:
    text = SIMPLE + f'\n[[extra]]\nname = "{name}"\nkind = "text"\n'
    with pytest.raises(IngestError, match=r"`extra\[0\]\.name`"):
        parse_mapping(text, "test.toml")


def test_two_extra_fields_of_one_name() -> None:
    extra = '\n[[extra]]\nname = "{}"\nkind = "text"\n'
    with pytest.raises(IngestError, match="same name"):
        parse_mapping(SIMPLE + extra.format("x") + extra.format("X"), "test.toml")

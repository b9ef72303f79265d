"""Edits as lines: read back as they were, and anything else refused with a sentence."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lbsf_core.errors import EditError
from lbsf_core.explain.edit_codes import edit_of, line_of
from lbsf_core.explain.edits import Edit

DAY = datetime(2024, 5, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("line", "edit"),
    [
        ("remove at tidecash advance", Edit("remove", merchant="tidecash advance")),
        ("remove since 2024-05-01 at x", Edit("remove", merchant="x", since=DAY)),
        ("remove rows 3,5", Edit("remove", payments=(3, 5))),
        ("scale 0.5 at rent at home", Edit("scale", merchant="rent at home", factor=0.5)),
        ("shift -30 at salary", Edit("shift", merchant="salary", days=-30)),
        ("add -20 on 2024-05-01 at x", Edit("add", merchant="x", when=DAY, amount=-20)),
        ("window 90", Edit("window", days=90)),
        ("cutoff 2024-05-01", Edit("cutoff", when=DAY)),
    ],
)
def test_lines_by_hand(line: str, edit: Edit) -> None:
    assert edit_of(line) == edit
    assert line_of(edit) == line


instants = st.datetimes(datetime(1990, 1, 1), datetime(2090, 1, 1), timezones=st.just(UTC))
names = st.text(min_size=1, max_size=40)
numbers = st.integers(-(10**6), 10**6).map(lambda n: n / 100)
edits = st.one_of(
    st.builds(Edit, st.just("remove"), merchant=names, since=st.none() | instants),
    st.builds(Edit, st.just("scale"), merchant=names, factor=numbers.map(abs)),
    st.builds(Edit, st.just("shift"), payments=st.tuples(st.integers(0, 9)), days=numbers),
    st.builds(Edit, st.just("add"), merchant=names, when=instants, amount=numbers),
)


@given(edits)
def test_every_edit_is_read_back(edit: Edit) -> None:
    assert edit_of(line_of(edit)) == edit


@pytest.mark.parametrize(
    "line",
    [
        "",
        "delete at x",
        "scale at x",
        "scale half at x",
        "scale nan at x",
        "scale -1 at x",
        "remove",
        "remove 3 at x",
        "remove rows 3,x",
        "add -20 at x",
        "add -20 on never at x",
        "window 0",
        "window",
        "cutoff soon",
        "remove at " + "x" * 3000,
        "__import__('os')",
    ],
)
def test_what_is_no_edit_is_refused_in_words(line: str) -> None:
    with pytest.raises(EditError):
        edit_of(line)

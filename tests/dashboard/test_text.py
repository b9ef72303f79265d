"""The one escape function, and cells that no spreadsheet runs (faults 1, 2, 5 and 24)."""

from __future__ import annotations

import pandas as pd
import pytest

from dashboard.components.text import escape, to_csv, visible_frame

IMAGE = "![x](http://127.0.0.1:9/evil)"


def test_fault_1_a_markdown_image_loses_every_sign_that_makes_it_one():
    shown = escape(IMAGE, "markdown")
    assert r"\!\[x\]\(http" in shown
    assert "http://" not in shown


@pytest.mark.parametrize(
    "text",
    ["https://evil.test", "www.evil.test", "me@evil.test", ":material/home:", ":red[x]", ":smile:"],
)
def test_nothing_that_streamlit_reads_without_punctuation_survives(text: str):
    shown = escape(text, "markdown")
    assert "\u2060" in shown
    assert shown.replace("\\", "").replace("\u2060", "") == text


@pytest.mark.parametrize("character", list("\\`*_{}[]()<>#+-.!|~$&\"'/^="))
def test_every_sign_of_markdown_gets_a_backslash(character: str):
    assert escape(f"a{character}b", "markdown") == f"a\\{character}b"


def test_fault_2_html_is_literal_in_a_chart():
    assert escape("<img src=x onerror=y><b>", "chart") == "&lt;img src=x onerror=y&gt;&lt;b&gt;"
    assert escape("a & b", "chart") == "a &amp; b"


def test_fault_5_invisible_and_turning_characters_are_named():
    assert escape("pay\u200bpal") == "pay‹U+200B›pal"
    assert escape("\u202eknab") == "‹U+202E›knab"
    assert escape("a\tb\nc\u00a0d") == "a b c d"
    assert escape("café 東京") == "café 東京"


def test_a_long_name_is_cut_before_it_is_escaped():
    assert escape("<" * 50, "chart", width=4) == "&lt;&lt;…&lt;"
    assert escape("withdrawal in cash payment", width=16) == "withdrawal…yment"
    assert escape("short", width=5) == "short"


def test_frames_keep_numbers_and_missing_values():
    frame = pd.DataFrame({"name": ["a\u200b", None], "value": [1.5, -2.0]})
    shown = visible_frame(frame)
    assert shown["name"][0] == "a‹U+200B›"
    assert pd.isna(shown["name"][1])
    assert shown["value"].tolist() == [1.5, -2.0]
    assert frame["name"][0] == "a\u200b"


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t", "\r", "\n"])
def test_fault_24_text_cells_never_start_a_formula(start: str):
    frame = pd.DataFrame({"text": [f"{start}1+1"], "number": [-3.5]})
    text = to_csv(frame).decode("utf-8-sig")
    assert f"'{start}1+1" in text
    assert "-3.5" in text
    assert "'-3.5" not in text


def test_fault_24_headers_are_cells_too():
    assert to_csv(pd.DataFrame({"=A1": [1]})).decode("utf-8-sig").startswith("'=A1")

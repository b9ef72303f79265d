"""Streamlit's script of charts: what is changed in it, and that nothing else is.

That it draws every chart: `tests/browser/test_charts.py`.
"""

from __future__ import annotations

import ast
import re
from itertools import pairwise
from pathlib import Path

import pytest

from dashboard import plotly_script, scripts

CHARTS = Path(plotly_script.__file__).with_name("charts")


@pytest.fixture(scope="module")
def script() -> bytes:
    name = scripts.needed()[0]
    assert name.startswith("PlotlyChart.")
    return (scripts.FOLDER / name).read_bytes()


def bodies(script: bytes) -> dict[bytes, bytes]:
    """Plotly.js's modules by path, each with what follows it until the next one."""
    found = [*re.finditer(rb"[\w$]+=[\w$]\(\{\"([^\"]+)\"(?=\()", script)]
    end = script.index(b'({"lib/index.js"')
    ends = [one.start() for one in found[1:]] + [end]
    return {one[1]: script[one.end() : to] for one, to in zip(found, ends, strict=True)}


def test_traces_that_nobody_draws_are_not_in_it(script):
    cut = plotly_script._without_the_rest(script)
    assert len(script) > 4.5e6
    assert len(cut) < 1.3e6
    before, after = bodies(script), bodies(cut)
    gone = [path for path, body in after.items() if body == b"(){}}),"]
    assert len(gone) > 600
    kept = [path for path in after if path not in gone]
    assert [before[path] for path in kept] == [after[path] for path in kept]
    assert list(before) == list(after)
    kinds = {path.split(b"/")[2] for path in after if path.startswith(b"src/traces/")}
    whole = {
        kind
        for kind in kinds
        if all(b != b"(){}})," for p, b in after.items() if p.startswith(b"src/traces/%b/" % kind))
    }
    assert {b"scatter", b"bar", b"heatmap"} <= whole
    for name in (b"scattermap", b"scattergl", b"choropleth", b"sankey", b"surface"):
        assert name not in whole
    for path in (b"stackgl_modules/index.js", b"build/maplibre_worker.js"):
        assert len(before[path]) > 4e5
        assert after[path] == b"(){}}),"


def test_every_kind_of_trace_in_our_charts_is_kept():
    """By the source: plotly's classes, their methods, and `type` of plain traces."""
    found = set()
    for path in CHARTS.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Attribute) and ast.unparse(node.value) == "go":
                found.add(node.attr.lower())
            if isinstance(node, ast.Attribute) and re.fullmatch("add_[a-z0-9]+", node.attr):
                found.add(node.attr.removeprefix("add_"))
            if isinstance(node, ast.Dict):
                parts = zip(node.keys, node.values, strict=True)
                kinds = [v for k, v in parts if isinstance(k, ast.Constant) and k.value == "type"]
                found |= {kind.value for kind in kinds if isinstance(kind, ast.Constant)}
    traces = found - {
        # parts of a figure that are no traces, of axes, error bars and shapes
        *("figure", "annotation", "shape", "vline", "hline", "vrect", "hrect", "trace", "traces"),
        *("date", "log", "data", "line", "rect", "path", "circle", "category"),
    }
    assert traces == {"scatter", *plotly_script.DRAWN}


def test_plotly_is_a_function_that_is_called_at_once(script):
    sent = plotly_script._called_at_once(script)
    # A pair of parentheses more, around nearly all of it: a Streamlit that writes it otherwise
    # fails here, and is served as it is.
    function = rb"\(\)=>\{var \w+=\(\(\)=>\{.*return window\.Plotly=\w+,\w+\}"
    found = re.search(rb"self:\w+,\((" + function + rb")\)\)\}\)\)", sent, re.DOTALL)
    assert found is not None
    assert len(found[1]) > 4e6
    assert sent[: found.start(1) - 1] + found[1] + sent[found.end(1) + 1 :] == script


def test_a_chart_waits_for_its_width_in_a_place_of_its_height(script):
    sent = plotly_script._drawn_once(script)
    # Nothing but this is put in; a Streamlit that writes it otherwise fails here, and is served as
    # it is. In a browser: `tests/browser/test_charts.py`.
    put_in = re.search(
        rb"children:((\w+)\.layout\.width===void 0\?(\w+)\(`div`,"
        rb"\{style:\{height:\2\.layout\.height\}\}\):)\3\(\w+,\{data:\2\.data,",
        sent,
    )
    assert put_in is not None
    assert sent[: put_in.start(1)] + sent[put_in.end(1) :] == script


def test_a_charts_first_drawing_waits_for_its_turn(script):
    sent = plotly_script._in_turn(script)
    put_in = re.search(rb"(\w+)\.current=(\(\w+\?lbsfTurn\(\):)\1\.current(\))\.then", sent)
    assert put_in is not None
    assert sent.endswith(plotly_script._TURN)
    parts = [0, put_in.start(2), put_in.end(2), put_in.start(3), put_in.end(3), len(sent)]
    kept = b"".join(sent[a:b] for a, b in list(pairwise(parts))[::2])
    assert kept.removesuffix(plotly_script._TURN) == script


def test_all_of_it_is_done(script):
    steps = (
        plotly_script._without_the_rest,
        plotly_script._called_at_once,
        plotly_script._drawn_once,
        plotly_script._in_turn,
    )
    made = script
    for step in steps:
        after = step(made)
        assert after != made
        made = after
    assert plotly_script.quick(script) == made


CORE = b'var c=_({"lib/core.js"(e,t){t.exports=1}}),'
BAR = b'b=_({"lib/bar.js"(e,t){t.exports=2}}),h=_({"lib/heatmap.js"(e,t){t.exports=3}}),'
PIE = b'p=_({"lib/pie.js"(e,t){t.exports=q()}}),q=_({"src/pie.js"(e,t){t.exports=4}});'
ROOT = b'return _({"lib/index.js"(e,t){var n=c();n.register([b(),p(),h()]),t.exports=n}})'


def test_a_module_that_nobody_calls_keeps_its_name_only():
    assert (
        plotly_script._without_the_rest(CORE + BAR + PIE + ROOT)
        == (
            CORE + BAR + b'p=_({"lib/pie.js"(){}}),'
            b'q=_({"src/pie.js"(e,t){t.exports=4}});'  # what follows it is not its own
            b'return _({"lib/index.js"(e,t){var n=c();n.register([b(),h()]),t.exports=n}})'
        )
    )


def test_what_stands_before_a_module_is_its_own():
    """`s` is needed and its function stands between it and `p`, which is not."""
    between = b'p=_({"lib/pie.js"(e,t){}});function f(){return x()}var s=g({"src/s.js"(){f()}}),'
    more = b'x=_({"src/x.js"(e,t){t.exports=5}}),'
    core = b'var c=_({"lib/core.js"(e,t){s()}}),'
    kept = plotly_script._without_the_rest(core + BAR + between + more + ROOT)
    assert kept == core + BAR + between + more + ROOT.replace(b"p(),", b"")


@pytest.mark.parametrize(
    "script",
    [
        b"export const e=1",
        b"typeof self<`u`?self:n,()=>{var e=(()=>{})();return e})}))",
        b"f(()=>{var e=(()=>{})();return window.Plotly=e,e})}))",
        b"return window.Plotly=e,e})}));typeof self<`u`?self:n,()=>{var e=(()=>{",
        CORE + BAR + PIE,  # no list of kinds
        CORE + PIE + ROOT,  # a kind that we draw is not in it
        CORE + BAR + b'c=_({"src/c.js"(e,t){}}),' + PIE + ROOT,  # two of one name
    ],
)
def test_a_charts_script_that_looks_otherwise_is_sent_as_it_is(script):
    assert plotly_script.quick(script) == script

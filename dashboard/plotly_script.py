"""Streamlit's script of its charts, which is plotly.js for the most part, made to start sooner.

Whoever waits for a chart waits for this script: of all that a page loads it is the largest. Each of
the four changes is left out where Streamlit writes the script otherwise; the tests then say so.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import pairwise
from typing import NamedTuple

#: Kinds of traces that our figures have beside `scatter`, which belongs to plotly.js's core.
DRAWN = ("bar", "heatmap")
#: Where plotly.js begins and ends in the script: a function that is called as it is made.
_BEGINS = re.compile(rb"typeof self<`u`\?self:\w+,(?=\(\)=>\{var \w+=\(\(\)=>\{)")
_ENDS = re.compile(rb"return window\.Plotly=(\w+),\1\}(?=\)\}\)\))")
#: Where Streamlit's chart gives its figure to plotly.js. Groups: make an element, the chart, the
#: figure.
_GIVEN = re.compile(rb"children:(\w+)\((\w+),\{data:(\w+)\.data,layout:\3\.layout,config:")
#: Where a chart waits for its own drawings before it draws the next. Groups: all before, whether it
#: is its first, what it waits for.
_WAITS = re.compile(rb"(function \w+\((\w+),\w+,\w+\)\{(\w+)\.current=)\3\.current(?=\.then\(\(\))")
_TURN = b"""
let lbsfFirst;function lbsfTurn(){if(lbsfFirst)return lbsfFirst;\
lbsfFirst=new Promise(go=>{requestAnimationFrame(()=>setTimeout(go));setTimeout(go,1e3)});\
return Promise.resolve()}
"""

#: A module of plotly.js: `name=_({"its/path.js"(exports,module){...}}),`, a function that runs when
#: another one first calls `name()`; its root has no name.
_OPENS, _CLOSES, _ROOT = b'({"', b"}}),", b'({"lib/index.js"'
_NAME = re.compile(rb"(?<![\w$])([\w$]+)=[\w$]$")
_CALL = re.compile(rb"(?<![\w$.])([\w$]+)$")
#: The root's list of the kinds of traces.
_KINDS = re.compile(rb"(?<=\.register\(\[)[\w$(),]*(?=\]\))")
#: Bytes that hold the longest name.
_LONGEST = 24


class _Module(NamedTuple):
    """One of plotly.js's: where its function begins, and where the next module does."""

    path: bytes
    begins: int
    ends: int


def quick(script: bytes) -> bytes:
    """The script with all four changes."""
    return _in_turn(_drawn_once(_called_at_once(_without_the_rest(script))))


def _without_the_rest(script: bytes) -> bytes:
    """Plotly.js without the kinds of traces that no figure of ours has, and all that only they use.

    Maps of streets, of the world and of space are three quarters of its 4.6 MB, and half of what
    happens when it starts. A module that nobody calls any more keeps its name and loses its body.
    """
    root = script.find(_ROOT)
    kinds = _KINDS.search(script, root) if root >= 0 else None
    modules = _modules(script, root) if kinds else {}
    if kinds is None or not modules:
        return script
    wanted = {b"lib/%s.js" % kind.encode() for kind in DRAWN}
    listed = [name for name in _called(script, *kinds.span()) if name in modules]
    kept = [name for name in listed if modules[name].path in wanted]
    if len(kept) != len(wanted):
        return script
    needed = _reached(script, modules, [*kept, *_called(script, root, kinds.start())])
    parts, last = [], 0
    for (name, one), (after, _) in pairwise(modules.items()):
        if name in needed:
            continue
        # What stands between two modules belongs to the second.
        if after not in needed or script.endswith(_CLOSES, one.begins, one.ends):
            parts += [script[last : one.begins], b"(){", _CLOSES]
            last = one.ends
    parts += [script[last : kinds.start()], b",".join(b"%b()" % name for name in kept)]
    return b"".join([*parts, script[kinds.end() :]])


def _modules(script: bytes, root: int) -> dict[bytes, _Module]:
    """Plotly.js's modules by name, in their order; none where two have one name."""
    found = []
    at = script.find(_OPENS)
    while 0 <= at < root:
        name = _NAME.search(script, max(0, at - _LONGEST), at)
        path = at + len(_OPENS)
        if name:
            closed = script.index(b'"', path)
            found.append((name[1], script[path:closed], name.start(), closed + 1))
        at = script.find(_OPENS, path)
    starts = [start for _, _, start, _ in found[1:]] + [root]
    modules = {
        name: _Module(path, begins, ends)
        for (name, path, _, begins), ends in zip(found, starts, strict=True)
    }
    return modules if len(modules) == len(found) else {}


def _called(script: bytes, begins: int, ends: int) -> Iterator[bytes]:
    """Names that are called with nothing in that part of a script: all that may be modules."""
    at = script.find(b"()", begins, ends)
    while at >= 0:
        name = _CALL.search(script, max(begins, at - _LONGEST), at)
        if name:
            yield name[1]
        at = script.find(b"()", at + 2, ends)


def _reached(script: bytes, modules: dict[bytes, _Module], first: list[bytes]) -> set[bytes]:
    """Names of the modules that run when some do; a few more, for names are not told apart."""
    before = {name: one for one, name in pairwise(modules)}
    found: set[bytes] = set()
    waiting = [name for name in first if name in modules]
    while waiting:
        name = waiting.pop()
        if name in found:
            continue
        found.add(name)
        parts = [modules[name]]
        left = modules[before[name]] if name in before else None
        if left and not script.endswith(_CLOSES, left.begins, left.ends):
            parts.append(left)
        waiting += [
            other
            for part in parts
            for other in _called(script, part.begins, part.ends)
            if other in modules
        ]
    return found


def _called_at_once(script: bytes) -> bytes:
    """Plotly.js in a pair of parentheses.

    A browser leaves a function unread until it is called, and plotly.js is one function: it was
    read to find its end, and again, by the thread that draws, to run it. Around a function,
    parentheses say that it is called at once; then it is compiled on another thread, while the page
    loads. Of all 4.6 MB it was a third of the time that the charts' script takes to start.
    """
    begin = _BEGINS.search(script)
    end = _ENDS.search(script, begin.end()) if begin else None
    if not begin or not end:
        return script
    function = script[begin.end() : end.end()]
    return b"".join((script[: begin.end()], b"(", function, b")", script[end.end() :]))


def _drawn_once(script: bytes) -> bytes:
    """A chart that is not drawn before its width is known.

    Streamlit draws every new figure, hidden and as wide as plotly.js likes, and again as soon as it
    has measured the place for it, some hundredths of a second later. Until then the place is kept
    empty, as high as the figure.
    """
    given = _GIVEN.search(script)
    if not given:
        return script
    make, _, figure = given.groups()
    unknown = b"%b.layout.width===void 0?%b(`div`,{style:{height:%b.layout.height}}):"
    at = given.start() + len(b"children:")
    return script[:at] + unknown % (figure, make, figure) + script[at:]


def _in_turn(script: bytes) -> bytes:
    """The first chart is on the screen before those that come with it are drawn.

    Charts that arrive together are drawn in one go, and the browser shows none before the last is
    done. Only once: after that whoever reads waits for all of a page.
    """
    waits = _WAITS.search(script)
    if not waits:
        return script
    before, first, own = waits.groups()
    turn = b"%b(%b?lbsfTurn():%b.current)" % (before, first, own)
    return b"".join((script[: waits.start()], turn, script[waits.end() :], _TURN))

"""Slow imports, done once and by one thread at a time.

The server warms up in a thread while the first visitor's page is already running. Two threads that
enter the same circular imports from different ends can see half-made modules, so both come through
this lock; later calls find everything loaded and cost nothing.
"""

from __future__ import annotations

import gc
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from lbsf_core.cores import shared_out
from lbsf_core.memory import give_back_freed_memory

Answer = TypeVar("Answer")

_lock = threading.Lock()
_imported, _can_draw = threading.Event(), threading.Event()
_model_ran = threading.Event()
_page_ran = threading.Event()
_ending = threading.Event()

#: Seconds that the warm-up waits for a first page; for which a browser asks nothing when it draws;
#: and that it waits for that at most.
PATIENCE, DRAWING, LONGEST = 5.0, 1.0, 15.0
#: The same for what only one page needs, which else does it then: for which somebody asks nothing
#: who reads, and that it waits at most.
READING, AT_LEISURE = 3.0, 120.0
#: Seconds after the last page in which the next may come, and for which memory is kept at most.
STILL, UNTIDY = 0.3, 10.0
#: When somebody last asked the server for something.
_asked = 0.0
#: Whether a page has run that memory was not yet given back of, and when that was last done.
_freed, _tidied = False, 0.0


def imports() -> None:
    """Load the library, plotly and what the first page draws; every run of a page asks for it."""
    asked()
    if _imported.is_set():
        return
    with _lock, loading():
        import dashboard.charts.portfolio
        import dashboard.state  # noqa: F401
    _imported.set()


def drawing() -> None:
    """Load what the other pages draw with; every run of one of them asks for it."""
    if _can_draw.is_set():
        return
    with _lock, loading():
        import plotly.graph_objects as go
        import plotly.io as pio
        from plotly.subplots import make_subplots

        import dashboard.charts.cohorts
        import dashboard.charts.model
        import dashboard.charts.timeline  # noqa: F401

        # Plain until now, and then made anew for every figure: `quick.theme_charts`.
        pio.templates[pio.templates.default] = pio.templates[pio.templates.default]
        # The first figure loads the classes of its traces.
        figure = make_subplots(rows=1, cols=2)
        figure.add_trace(go.Scatter(x=[0], y=[0]), row=1, col=1)
        figure.add_trace(go.Bar(x=[0], y=[0]), row=1, col=2)
        go.Figure(go.Heatmap(z=[[0]])).add_annotation(text="").to_json()
        figure.to_json()
    _can_draw.set()


@contextmanager
def loading() -> Iterator[None]:
    """While modules are imported: nothing is looked through for garbage.

    What a module makes stays, and the collector would look at it again and again: a quarter of the
    server's work until it can show a page. Afterwards it is told so: looking at 370,000 objects of
    torch, pandas and plotly takes 0.17 s, and everybody's page waits. What comes later, a page's
    own objects above all, is collected as before.
    """
    gc.disable()  # `__main__` has done so already, before the first import
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()


def statistics() -> None:
    """Load what the Cohorts page tests differences with: most of a second, not needed before."""
    with _lock, loading():
        import scipy.stats  # noqa: F401


def asked() -> None:
    """A browser asks for something: it still loads its page."""
    global _asked  # noqa: PLW0603 - one time for the process
    _asked = time.monotonic()


def page_ran() -> None:
    """A page's script has come to its end."""
    global _freed  # noqa: PLW0603 - one state for the process
    asked()
    _page_ran.set()
    _freed = True


def tidy() -> None:
    """Give the kernel what pages have freed since the last time, when none runs; some milliseconds.

    A page reads, draws and forgets some ten megabytes, and malloc keeps a hundred for the next one:
    of ten sessions' 700 MB over a million samples, 85. The next page asks for them again, which
    takes it 5 %: pages that follow each other at once are not made to.
    """
    global _freed, _tidied
    now = time.monotonic()
    if not _freed or (now < _asked + STILL and now < _tidied + UNTIDY):
        return
    _freed, _tidied = False, now
    give_back_freed_memory(whole=True)


def after_first_page() -> bool:
    """Wait until the first page is on somebody's screen, or long enough for nobody to come.

    A browser that draws asks for nothing any more. How soon it comes to that hangs on its computer,
    which may be this one: then a model's framework that is loaded meanwhile takes a core from it.

    Returns:
        False where the server ends.
    """
    return not _page_ran.wait(PATIENCE) or _still(DRAWING, LONGEST)


def when_read() -> bool:
    """Wait until nobody asks for anything and the last page is being read, or long enough.

    Who goes from one page to the next at once, right after the server has started, would otherwise
    share two cores with the rest of the warm-up: half a second more for some of them.

    Returns:
        False where the server ends.
    """
    return _still(READING, AT_LEISURE)


def _still(quiet: float, longest: float) -> bool:
    until = time.monotonic() + longest
    while (now := time.monotonic()) < (then := min(_asked + quiet, until)) and not _ending.is_set():
        time.sleep(min(then - now, DRAWING))  # a server that ends waits for it
    return not _ending.is_set()


def end() -> None:
    """The server ends: nothing more is warmed up."""
    _ending.set()


def first_alone(run_model: Callable[[], Answer], payments: int = 0) -> Answer:
    """Run the model; the first time nobody else may, because that loads the model's framework.

    Args:
        run_model: asks it.
        payments: of the history that it is asked about; see `shared_out`.
    """
    if _model_ran.is_set():
        with shared_out(payments):
            return run_model()
    with _lock, loading():
        answer = run_model()
    _model_ran.set()
    return answer

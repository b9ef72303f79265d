"""Selection, link parameters and caches."""

from __future__ import annotations

import gc
import subprocess
import sys
import weakref
from types import SimpleNamespace

import pytest

from dashboard import state, warm
from tests.dashboard.fake_workspace import FakeWorkspace


@pytest.fixture
def session(monkeypatch: pytest.MonkeyPatch) -> dict:
    held: dict = {}
    monkeypatch.setattr(state.st, "session_state", held)
    return held


def event(*customdata):
    return {"selection": {"points": [{"customdata": list(c)} for c in customdata]}}


def test_a_click_picks_the_merchant_that_its_point_names(session):
    session["timeline"] = event(("gym", "shown"))
    state.pick_merchant("timeline")
    assert session["merchant"] == "gym"


def test_an_empty_event_keeps_the_selection(session):
    session |= {"timeline": event(), "merchant": "gym"}
    state.pick_merchant("timeline")
    assert session["merchant"] == "gym"


def test_the_lane_of_the_others_selects_nothing(session):
    session |= {"timeline": event(("", "12 others")), "merchant": None}
    state.pick_merchant("timeline")
    assert session["merchant"] is None


def test_another_case_forgets_the_merchant(session):
    session["merchant"], session["edits"] = "gym", ["remove at gym"]
    state.show_case("U2", "2024-03-31T00:00:00+00:00")
    gone = {"merchant": None, "beside": None, "payment": None, "edits": []}
    assert session == {"user": "U2", "cutoff": "2024-03-31", **gone}


def test_a_choice_that_is_no_longer_offered_is_dropped(session):
    session["merchant"] = "gym"
    state.drop_stale("merchant", ["shop"])
    assert session["merchant"] is None
    state.drop_stale("never set", ["shop"])
    assert "never set" not in session


def test_a_box_that_always_says_something_falls_back_to_the_first(session):
    session |= {"cutoff": "2024-01-01", "against": None}
    state.first_if_stale("cutoff", ["2024-03-31", "2024-02-29"])
    state.first_if_stale("against", ["typical payment"])
    state.first_if_stale("never set", ["one"])
    assert session == {"cutoff": "2024-03-31", "against": "typical payment"}
    state.first_if_stale("cutoff", ["2024-04-30", "2024-03-31"])
    assert session["cutoff"] == "2024-03-31"


def test_a_workspace_made_again_is_opened_again(tmp_path, monkeypatch):
    import os

    monkeypatch.setenv(state.WORKSPACE_ENV, str(tmp_path))
    monkeypatch.setattr(state, "find_workspaces", lambda path: {"demo": path})
    (tmp_path / "manifest.json").write_text("{}")
    before = state.sources()["demo"]
    os.utime(tmp_path / "manifest.json", ns=(10**18 * 2, 10**18 * 2))
    assert state.sources()["demo"] != before


def test_the_first_run_of_the_model_is_alone_and_a_failed_one_does_not_count(monkeypatch):
    monkeypatch.setattr(warm, "_model_ran", warm.threading.Event())
    with pytest.raises(ZeroDivisionError):
        warm.first_alone(lambda: 1 / 0)
    assert warm.first_alone(warm._lock.locked)
    assert not warm.first_alone(warm._lock.locked)


def test_nothing_is_looked_through_for_garbage_while_modules_are_loaded():
    seen = []

    def load():
        with warm.loading():
            seen.append(gc.isenabled())
            raise ImportError("no such module")

    try:
        with pytest.raises(ImportError):
            load()
        assert seen == [False]
        assert gc.isenabled()
        assert gc.get_freeze_count()
    finally:
        gc.unfreeze()


def test_the_server_begins_without_the_collector_and_its_first_imports_bring_it_back():
    code = (
        "import gc, runpy\n"
        "runpy.run_module('dashboard.__main__', run_name='not main')\n"
        "print(gc.isenabled())\n"
        "from dashboard import warm\n"
        "warm.imports()\n"
        "print(gc.isenabled())\n"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.split() == ["False", "True"]


def test_what_is_loaded_is_not_looked_at_by_the_collector_again(monkeypatch):
    gc.unfreeze()
    monkeypatch.setattr(warm, "_model_ran", warm.threading.Event())
    kept = [[] for _ in range(1000)]
    assert warm.first_alone(lambda: "answer") == "answer"
    assert gc.get_freeze_count() > len(kept)
    looped = _Kept()
    looped.itself = looped  # later ones are found as before
    gone = weakref.ref(looped)
    del looped
    gc.collect()
    assert gone() is None
    gc.unfreeze()


class _Kept:
    itself: object = None


def test_charts_are_taken_away_as_the_chosen_kind_of_picture(session):
    assert state.picture("roc")["toImageButtonOptions"]["format"] == "png"
    session["pictures"] = "SVG"
    told = state.picture("roc")["toImageButtonOptions"]
    assert (told["format"], told["filename"]) == ("svg", "lbsf-roc")


@pytest.fixture
def clock(monkeypatch):
    """A clock that sleeping moves on; what it is told to do at a time is done then."""
    now, later = [100.0], []

    def sleep(seconds):
        until = now[0] + seconds
        while later and later[0][0] <= until:
            now[0], do = later.pop(0)
            do()
        now[0] = until

    monkeypatch.setattr(warm.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(warm.time, "sleep", sleep)
    monkeypatch.setattr(warm, "_page_ran", warm.threading.Event())
    return SimpleNamespace(now=lambda: round(now[0] - 100, 6), later=later)


def test_the_model_is_loaded_when_nobody_comes(clock, monkeypatch):
    monkeypatch.setattr(warm, "PATIENCE", 0.01)
    warm.after_first_page()
    assert clock.now() == 0


def test_the_model_is_loaded_when_the_browser_asks_for_nothing_any_more(clock):
    warm.page_ran()
    clock.later += [(100.7, warm.asked), (101.6, warm.asked), (109.0, warm.asked)]
    warm.after_first_page()
    assert clock.now() == 1.6 + warm.DRAWING


def test_a_browser_that_never_stops_asking_is_not_waited_for(clock):
    warm.page_ran()
    clock.later += [(100 + at / 2, warm.asked) for at in range(1, 99)]
    warm.after_first_page()
    assert clock.now() == warm.LONGEST


def test_what_no_page_needs_waits_until_none_is_asked_for(clock):
    warm.asked()
    clock.later += [(100 + at / 2, warm.asked) for at in range(1, 99)]
    assert warm.when_read()
    assert clock.now() == 49 + warm.READING
    assert warm.when_read()
    assert clock.now() == 49 + warm.READING, "nobody came meanwhile"


def test_what_no_page_needs_is_not_put_off_for_ever(clock):
    clock.later += [(100 + at / 2, warm.asked) for at in range(999)]
    assert warm.when_read()
    assert clock.now() == warm.AT_LEISURE


def test_a_server_that_ends_warms_nothing_up(clock, monkeypatch):
    monkeypatch.setattr(warm, "_ending", warm.threading.Event())
    warm.page_ran()
    clock.later += [(100 + at / 2, warm.asked) for at in range(1, 99)]
    clock.later.insert(6, (103.2, warm.end))
    assert not warm.when_read()
    assert clock.now() <= 103.2 + warm.DRAWING
    assert not warm.after_first_page()


def test_the_warm_up_compares_what_no_page_has_read(monkeypatch):
    opened: list[FakeWorkspace] = []

    def fake(path, verify):
        assert verify == "when read"
        opened.append(FakeWorkspace(path))
        return opened[-1]

    monkeypatch.setenv(state.WORKSPACE_ENV, "/nowhere/warm")
    monkeypatch.setattr(state, "find_workspaces", lambda path: {"warm": path})
    monkeypatch.setattr(state, "Workspace", SimpleNamespace(open=fake))
    monkeypatch.setattr(warm, "after_first_page", lambda: True)
    monkeypatch.setattr(warm, "when_read", lambda: True)
    state.warm_up()
    assert [workspace.compared for workspace in opened] == [1]


def test_the_warm_up_asks_the_first_query(tiny_workspace, monkeypatch):
    monkeypatch.setenv(state.WORKSPACE_ENV, str(tiny_workspace))
    monkeypatch.setattr(warm, "after_first_page", lambda: True)
    monkeypatch.setattr(warm, "when_read", lambda: False)
    state.warm_up()
    (source,) = state.sources().values()
    tables = state.open_workspace(source)._tables
    assert {"_connection", "_mapped"} <= vars(tables).keys(), "queries and rows"


@pytest.fixture
def given(clock, monkeypatch):
    """What was given back, and when."""
    found = []
    monkeypatch.setattr(
        warm, "give_back_freed_memory", lambda *, whole: found.append((whole, clock.now()))
    )
    monkeypatch.setattr(warm, "_freed", False)
    monkeypatch.setattr(warm, "_tidied", 100.0)
    return found


def test_memory_is_given_back_once_after_pages_ran(clock, given):
    warm.tidy()
    assert given == []
    warm.page_ran()
    warm.page_ran()
    warm.tidy()
    assert given == [], "the next page may come at once"
    warm.time.sleep(warm.STILL)
    warm.tidy()
    warm.tidy()
    assert given == [(True, warm.STILL)]


def test_pages_without_an_end_do_not_keep_memory(clock, given):
    for _ in range(4 * round(warm.UNTIDY)):
        warm.imports()
        warm.time.sleep(warm.STILL / 2)
        warm.tidy()
        warm.page_ran()
        warm.time.sleep(warm.STILL / 3)
        warm.tidy()
    assert [round(at) for _, at in given] == [warm.UNTIDY]

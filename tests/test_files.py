"""Atomic writes, hashes and JSON: faults 20 to 23 at the level of files."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from lbsf_core import files
from lbsf_core.errors import BundleError, LbsfError
from lbsf_core.files import (
    atomic_write,
    check_hashes,
    dump_json,
    read_json,
    recover,
    sha256,
)

#: SHA-256 of b"abc", from FIPS 180-2.
ABC = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


def write_file(target: Path, text: str) -> None:
    with atomic_write(target) as path:
        path.write_text(text)


def write_folder(target: Path, text: str) -> None:
    with atomic_write(target) as path:
        path.mkdir()
        (path / "a").write_text(text)
        (path / "b").write_text(text)


def read_target(target: Path) -> str:
    """What stands at the target; a half-written folder gives both texts or fails."""
    if target.is_dir():
        assert {p.name for p in target.iterdir()} == {"a", "b"}
        return "+".join(sorted({p.read_text() for p in target.iterdir()}))
    return target.read_text()


BOTH = pytest.mark.parametrize("write", [write_file, write_folder])
Write = Callable[[Path, str], None]


@BOTH
def test_new_and_replaced_target_is_all_that_is_left(tmp_path: Path, write: Write) -> None:
    target = tmp_path / "made" / "too" / "target"
    write(target, "old")
    assert read_target(target) == "old"
    write(target, "new")
    assert read_target(target) == "new"
    assert list(target.parent.iterdir()) == [target]


@BOTH
@pytest.mark.parametrize("error", [ValueError("no"), KeyboardInterrupt(), LbsfError("no")])
def test_fault_22_error_in_the_body_leaves_the_old(
    tmp_path: Path, write: Write, error: BaseException
) -> None:
    target = tmp_path / "target"
    write(target, "old")
    with pytest.raises(type(error)), atomic_write(target) as path:
        path.write_text("half")
        raise error
    assert read_target(target) == "old"
    assert list(tmp_path.iterdir()) == [target]


#: Writes "new" over "old" and dies, as a kill would, just before the n-th operation on a path in
#: the folder: the interpreter reports each open, mkdir, rename, listing and removal.
_KILLED = """
import os, sys
from pathlib import Path
from lbsf_core.files import atomic_write

kind, target, at = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])
seen = 0

def hook(event, args):
    global seen
    if not event.startswith(("open", "os.", "shutil.")) or not armed:
        return
    if any(str(target.parent) in str(arg) for arg in args if isinstance(arg, str | os.PathLike)):
        seen += 1
        if seen == at:
            os._exit(137)

armed = False
sys.addaudithook(hook)
armed = True
with atomic_write(target) as path:
    if kind == "folder":
        path.mkdir()
        (path / "a").write_text("new")
        (path / "b").write_text("new")
    else:
        path.write_text("new")
armed = False
print(seen)
"""


def _kill_at(kind: str, target: Path, at: int) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", _KILLED, kind, str(target), str(at)],
        capture_output=True,
        text=True,
        check=False,
        cwd=Path(__file__).parents[1],
    )


@pytest.mark.parametrize(("kind", "least"), [("file", 4), ("folder", 9)])
def test_fault_22_killed_at_every_step_leaves_old_or_new(
    tmp_path: Path, kind: str, least: int
) -> None:
    write = {"file": write_file, "folder": write_folder}[kind]
    found = []
    for at in range(1, 100):
        target = tmp_path / str(at) / "target"
        write(target, "old")
        done = _kill_at(kind, target, at)
        if done.returncode == 0:
            assert int(done.stdout) == at - 1
            break
        assert done.returncode == 137, done.stderr
        recover(target)
        found.append(read_target(target))
        write(target, "next")  # the next run works, whatever the kill left behind
        assert read_target(target) == "next"
    assert set(found) == {"old", "new"}
    assert found == sorted(found, reverse=True)  # old, ..., old, new, ..., new
    assert len(found) >= least


def test_fault_22_next_write_heals_a_kill_between_the_two_renames(tmp_path: Path) -> None:
    target = tmp_path / "target"
    write_folder(target, "old")
    target.rename(tmp_path / ".target.old")
    with pytest.raises(ValueError, match="stop"), atomic_write(target):
        raise ValueError("stop")
    assert read_target(target) == "old"
    assert list(tmp_path.iterdir()) == [target]


def test_recover_never_replaces_a_target_that_is_there(tmp_path: Path) -> None:
    write_folder(tmp_path / "target", "new")
    write_folder(tmp_path / ".target.old", "old")
    recover(tmp_path / "target")
    assert read_target(tmp_path / "target") == "new"
    recover(tmp_path / "nothing")  # nothing to do, nothing raised
    assert not (tmp_path / "nothing").exists()


def _full(*_: object) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


@BOTH
@pytest.mark.parametrize("step", ["body", "fsync", "rename"])
def test_fault_23_disk_full_is_a_clean_error_and_leaves_the_old(
    tmp_path: Path, write: Write, step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "target"
    write(target, "old")
    with monkeypatch.context() as patch:
        if step == "body":
            patch.setattr(Path, "write_text", _full)
        elif step == "fsync":
            patch.setattr(os, "fsync", _full)
        else:
            patch.setattr(Path, "replace", _full)
            patch.setattr(Path, "rename", _full)
        with pytest.raises(LbsfError, match=r"No space left on device.*Free some space"):
            write(target, "new")
    assert read_target(target) == "old"
    assert list(tmp_path.iterdir()) == [target]


def test_fault_23_second_rename_fails_and_the_old_folder_goes_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "target"
    write_folder(target, "old")
    rename = Path.rename

    def fail_once(self: Path, other: Path) -> Path:
        if self.name.endswith(".tmp"):
            _full()
        return rename(self, other)

    monkeypatch.setattr(Path, "rename", fail_once)
    with pytest.raises(LbsfError, match="what was there before is untouched"):
        write_folder(target, "new")
    assert read_target(target) == "old"
    assert list(tmp_path.iterdir()) == [target]


def test_everything_is_fsynced_before_the_first_rename(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "target"
    write_folder(target, "old")
    steps: list[str] = []
    real = files._fsync
    monkeypatch.setattr(files, "_fsync", lambda path: (steps.append(path.name), real(path))[1])
    rename = Path.rename
    monkeypatch.setattr(
        Path, "rename", lambda self, other: (steps.append("rename"), rename(self, other))[1]
    )
    write_folder(target, "new")
    temporary = steps[2]
    assert temporary.startswith(".target.")
    assert steps == ["a", "b", temporary, "rename", "rename", tmp_path.name]


def test_nothing_written_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(LbsfError, match="nothing was written"), atomic_write(tmp_path / "x"):
        pass
    assert list(tmp_path.iterdir()) == []


def test_parent_that_is_a_file_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(LbsfError, match="can't make this folder"):
        write_file(tmp_path / "file" / "x", "new")


def test_a_folder_with_other_files_is_never_replaced(tmp_path: Path) -> None:
    target = tmp_path / "home"
    write_folder(target, "old")
    (target / "thesis.tex").write_text("years of work")
    with pytest.raises(LbsfError, match=r"holds 'thesis\.tex', which this command does not write"):
        write_folder(target, "new")
    assert (target / "thesis.tex").read_text() == "years of work"
    assert (target / "a").read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]


def test_a_file_and_a_folder_never_replace_each_other(tmp_path: Path) -> None:
    write_file(tmp_path / "file", "old")
    with pytest.raises(LbsfError, match="is a file, and a folder is to be written there"):
        write_folder(tmp_path / "file", "new")
    assert read_target(tmp_path / "file") == "old"
    write_folder(tmp_path / "folder", "old")
    with pytest.raises(LbsfError, match="is a folder, and a file is to be written there"):
        write_file(tmp_path / "folder", "new")
    assert read_target(tmp_path / "folder") == "old"


def test_sha256_of_a_known_text(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"abc")
    assert sha256(tmp_path / "x") == ABC


def test_json_keeps_real_text_and_refuses_what_is_no_json(tmp_path: Path) -> None:
    (tmp_path / "x.json").write_text(dump_json({"b": "café", "a": 0.1}), encoding="utf-8")
    assert (tmp_path / "x.json").read_text(encoding="utf-8").startswith('{\n  "a": 0.1')
    assert "café" in (tmp_path / "x.json").read_text(encoding="utf-8")
    assert read_json(tmp_path / "x.json") == {"a": 0.1, "b": "café"}
    with pytest.raises(ValueError, match="not JSON compliant"):
        dump_json(float("nan"))
    (tmp_path / "bad.json").write_text("{")
    (tmp_path / "latin.json").write_bytes(b'"\xe9"')
    for name, message in (
        ("bad.json", "no readable JSON"),
        ("latin.json", "no readable JSON"),
        ("none.json", "no such file"),
    ):
        with pytest.raises(LbsfError, match=message):
            read_json(tmp_path / name)


def _check(folder: Path, name: str, digest: str = ABC) -> None:
    check_hashes(folder, {name: digest}, BundleError, "Do it again.")


def test_check_hashes_accepts_what_was_written(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "x").write_bytes(b"abc")
    _check(tmp_path, "sub/x")


def test_fault_20_other_bytes_are_refused(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"abd")
    with pytest.raises(BundleError, match=r"not those that were written.*Do it again\."):
        _check(tmp_path, "x")
    with pytest.raises(BundleError, match=r"file is missing. Do it again\."):
        _check(tmp_path, "y")


@pytest.mark.parametrize(
    "name", ["../x", "../../x", "sub/../../x", "/etc/hostname", "link", "dir/x"]
)
def test_fault_21_names_that_leave_the_folder_are_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / "x").write_bytes(b"abc")
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "link").symlink_to(tmp_path / "x")
    (folder / "dir").symlink_to(tmp_path)
    with pytest.raises(BundleError, match="outside the folder; refused"):
        _check(folder, name)

"""Files on disk: the one way to write them atomically, and to name what is in them (SHA-256)."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from lbsf_core.errors import LbsfError


def _fsync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


@contextmanager
def atomic_write(target: str | Path) -> Iterator[Path]:
    """Give a temporary path beside `target`; on success it becomes `target`, else nothing is left.

    The body writes either one file at the path or creates a directory there. All of it is
    fsynced before the rename, so that a kill or a power cut at any step leaves the old or the
    new, never half. An existing target of the same kind is replaced. For a directory there are
    two renames (old aside, new in place); a kill between them is healed by the next write or by
    `recover`. A directory that holds anything the new one does not is refused, so that a wrong
    `--out` never takes a user's own files with it.

    Raises:
        LbsfError: the disk is full, the folder can't be written, or the target holds other
            files; the old target is untouched.
    """
    target = Path(target)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        recover(target)
    except OSError as error:
        raise LbsfError(f"{target.parent}: can't make this folder ({error.strerror}).") from error
    temporary = target.with_name(f".{target.name}.{uuid.uuid4().hex[:12]}.tmp")
    try:
        yield temporary
        if not temporary.exists():
            raise LbsfError(f"{target}: nothing was written.")
        _check_replaceable(target, temporary)
        if temporary.is_dir():
            for path in sorted(temporary.rglob("*")):
                _fsync(path)
        _fsync(temporary)
        if temporary.is_dir() and target.exists():
            aside = _aside(target)
            _remove(aside)
            target.rename(aside)
            temporary.rename(target)
            _remove(aside)
        else:
            temporary.replace(target)
        _fsync(target.parent)
    except OSError as error:
        raise LbsfError(
            f"{target}: can't be written ({error.strerror}); what was there before is untouched. "
            "Free some space or choose another folder, then run the command again."
        ) from error
    finally:
        recover(target)  # if the second rename failed, the old directory goes back
        _remove(temporary)


def _check_replaceable(target: Path, new: Path) -> None:
    """Refuse to replace what is no earlier output of the same command."""
    if not target.exists():
        return
    if target.is_dir() != new.is_dir():
        kinds = ("a folder", "a file") if target.is_dir() else ("a file", "a folder")
        raise LbsfError(
            f"{target}: is {kinds[0]}, and {kinds[1]} is to be written there; untouched. "
            "Choose another name."
        )
    if target.is_dir():
        foreign = sorted({p.name for p in target.iterdir()} - {p.name for p in new.iterdir()})
        if foreign:
            raise LbsfError(
                f"{target}: holds '{foreign[0]}', which this command does not write; the folder "
                "is untouched. Choose another one, or empty it first."
            )


def _aside(target: Path) -> Path:
    return target.with_name(f".{target.name}.old")


def recover(target: str | Path) -> None:
    """Put back a directory whose replacement was killed between its two renames."""
    target = Path(target)
    aside = _aside(target)
    if not target.exists() and aside.exists():
        aside.rename(target)


def link(source: Path, target: Path) -> None:
    """A hard link where possible, since nobody changes a written file; else a copy."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)


def sha256(path: str | Path) -> str:
    """SHA-256 of a file's bytes, as hex."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def dump_json(value: Any) -> str:  # noqa: ANN401 - any JSON value
    """JSON as the project writes it: sorted keys, real text, no NaN or infinity."""
    return json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False, allow_nan=False) + "\n"


def read_json(path: str | Path) -> Any:  # noqa: ANN401 - any JSON value
    """Read a JSON file that lbsf wrote.

    Raises:
        LbsfError: it is missing or no JSON.
    """
    path = Path(path)
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise LbsfError(f"{path}: no such file.") from error
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise LbsfError(f"{path}: is no readable JSON ({error}); make it again.") from error


def check_hashes(folder: Path, hashes: dict[str, str], error: type[LbsfError], again: str) -> None:
    """Compare every file named in a manifest with its SHA-256.

    Args:
        folder: where the files lie; a name may not leave it, nor be a link.
        hashes: file name -> SHA-256 in hex.
        error: the error to raise.
        again: what the user should run to make the folder again.

    Raises:
        LbsfError: of the type `error`, naming the first file that differs.
    """
    root = folder.resolve()
    for name, expected in hashes.items():
        path = folder / name
        # A name that reads otherwise once resolved leads through "..", a link or a linked folder.
        if Path(name).is_absolute() or (root / name).resolve() != root / name:
            raise error(f"{folder}: the manifest names '{name}', outside the folder; refused.")
        if not path.is_file():
            raise error(f"{path}: this file is missing. {again}")
        actual = sha256(path)
        if actual != expected:
            raise error(
                f"{path}: its bytes are not those that were written "
                f"(SHA-256 {actual[:12]}…, expected {expected[:12]}…). {again}"
            )


def code_hash() -> str:
    """SHA-256 over the sources of lbsf_core: names the code that made a bundle."""
    root = Path(__file__).resolve().parent
    digest = hashlib.sha256()
    for path in sorted(root.rglob("*.py")):
        digest.update(path.relative_to(root).as_posix().encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()

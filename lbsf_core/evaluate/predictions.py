"""What finished runs said: a small file for each, and all of a benchmark in one.

A run says something of every sample: of test rows by what never saw them, of training rows out of
inner fold, which blends and calibration are fitted on. All runs together are days of compute and a
few megabytes, so they are kept with the project: any figure can be computed again, and a benchmark
goes on elsewhere. Rows are numbers of samples; no user, label or payment is in the file.
"""

from __future__ import annotations

import ast
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from lbsf_core.errors import LbsfError
from lbsf_core.files import atomic_write
from lbsf_core.fold.batch import FoldedBatch

#: What decides a prediction, once the folded samples are what they are (see `fingerprint`).
_CODE = (
    "config.py",
    "settings.py",
    "presets/few-labels.toml",
    "evaluate/aggregates.py",
    "evaluate/benchmark.py",
    "evaluate/contestants.py",
    "evaluate/controls.py",
    "evaluate/datasets.py",
    "evaluate/peers.py",
    "fold/batch.py",
    "model/[!b]*.py",  # all but bundles
    "score/scorer.py",
    "train/histories.py",
    "train/loop.py",
    "train/pretrain.py",
)
_DOCUMENTED = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
_METADATA, _SECONDS = b"lbsf", b"cpu_seconds"
#: Of one run: the samples, and the columns that name a run in the file of all.
_ROWS = ("row", "test", "logit")
_KEYS = ("dataset", "plan", "label", "contestant", "repeat", "fold", "code")
_SCHEMA = pa.schema(
    [
        *((name, pa.dictionary(pa.int32(), pa.string())) for name in _KEYS[:4]),
        ("repeat", pa.int16()),
        ("fold", pa.int16()),
        ("code", pa.dictionary(pa.int32(), pa.string())),
        ("cpu_seconds", pa.float32()),
        ("row", pa.int32()),
        ("test", pa.bool_()),
        ("logit", pa.float32()),
    ]
)
_ENCODINGS = {"row": "DELTA_BINARY_PACKED", "test": "RLE", "logit": "BYTE_STREAM_SPLIT"}


@cache
def contestant_code() -> str:
    """SHA-256 of the code that decides predictions; comments and docstrings don't count.

    As it was when this process first asked: what is imported does not change with the files.
    """
    return _hash_of(Path(__file__).resolve().parents[1])


def _hash_of(root: Path) -> str:
    digest = hashlib.sha256()
    for path in sorted(path for pattern in _CODE for path in root.glob(pattern)):
        text = path.read_text(encoding="utf-8")
        if path.suffix == ".py":
            tree = ast.parse(text)
            for node in ast.walk(tree):
                if isinstance(node, _DOCUMENTED) and ast.get_docstring(node) is not None:
                    node.body[:1] = [ast.Pass()]
            text = ast.unparse(tree)
        digest.update(f"{path.relative_to(root).as_posix()}\0{text}\0".encode())
    return digest.hexdigest()


def fingerprint(batch: FoldedBatch, labels: Mapping[str, np.ndarray[Any, Any]]) -> str:
    """SHA-256 of samples, payments and labels: row numbers mean the same where it is the same."""
    digest = hashlib.sha256("\0".join(batch.user_ids).encode())
    parts = [batch.cutoffs, batch.user_offsets, batch.offsets, batch.timestamps, batch.amounts]
    for part in (*parts, *(labels[name] for name in sorted(labels))):
        digest.update(np.ascontiguousarray(part).tobytes())
    return digest.hexdigest()


def write_run(path: Path, rows: pd.DataFrame, code: str, seconds: float = 0.0) -> None:
    """Write what a run said: row, test, logit; the hash of the code that made it, and its cost.

    Args:
        path: of the file.
        rows: of the run.
        code: hash of what made it.
        seconds: processor time of the run; what several runs share counts for the first of them.
    """
    table = pa.table({name: rows[name].to_numpy() for name in _ROWS})
    about = {_METADATA: code.encode(), _SECONDS: f"{seconds:.1f}".encode()}
    schema = pa.schema([_SCHEMA.field(name) for name in _ROWS], about)
    _write(table.cast(schema), path)


def read_run(path: Path) -> pd.DataFrame:
    """What a run said: row, test, logit (float64)."""
    return pd.read_parquet(path).astype({"row": np.int64, "logit": np.float64})


def _about_run(path: Path) -> tuple[str, float]:
    """Hash of the code that made a run, and the processor time that it took."""
    about = pq.read_schema(path).metadata or {}
    code = about.get(_METADATA)
    return code.decode() if code else contestant_code(), float(about.get(_SECONDS, b"0"))


def cpu_seconds(folder: Path) -> dict[str, float]:
    """Contestant -> processor time of all its runs in a working folder."""
    found: dict[str, float] = {}
    for path in sorted(folder.glob("*.*.*.*.parquet")):
        contestant = path.name.split(".")[1]
        found[contestant] = found.get(contestant, 0.0) + _about_run(path)[1]
    return found


def _write(table: pa.Table, path: Path) -> None:
    with atomic_write(path) as temporary:
        pq.write_table(
            table,
            temporary,
            compression="zstd",
            compression_level=15,
            use_dictionary=[name for name in table.column_names if name not in _ROWS],
            column_encoding={name: _ENCODINGS[name] for name in _ROWS},
            data_page_version="2.0",
        )


@dataclass(frozen=True)
class KeptRun:
    """One run: what names it, the code that made it, processor time, rows (row, test, logit)."""

    dataset: str
    plan: str
    label: str
    contestant: str
    repeat: int
    fold: int
    code: str
    cpu_seconds: float
    rows: pd.DataFrame

    @property
    def key(self) -> tuple[str | int, ...]:
        """What names it."""
        return tuple(getattr(self, name) for name in _KEYS[:-1])


class Kept:
    """All runs of a benchmark in one file.

    Args:
        path: of the file; it need not be there yet.

    Raises:
        LbsfError: what is there is no such file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._runs: dict[tuple[str | int, ...], KeptRun] = {}
        self._samples: dict[str, str] = {}
        if not path.exists():
            return
        try:
            table = pq.read_table(path)
            self._samples = json.loads((table.schema.metadata or {})[_METADATA])["samples"]
            frame = table.replace_schema_metadata(None).cast(_SCHEMA).to_pandas()
        except (OSError, pa.ArrowException, KeyError, ValueError) as error:
            raise LbsfError(f"{path}: holds no predictions of `lbsf benchmark --keep`.") from error
        frame = frame.astype({"row": np.int64, "logit": np.float64})
        for key, rows in frame.groupby(list(_KEYS), observed=True):
            # Training rows first, as a run itself has them.
            ordered = rows[list(_ROWS)].sort_values(["test", "row"], ignore_index=True)
            named = dict(zip(_KEYS, key, strict=True))
            cost = float(rows["cpu_seconds"].iloc[0])
            self._take(KeptRun(**named, cpu_seconds=cost, rows=ordered))

    def _take(self, run: KeptRun) -> None:
        self._runs[run.key] = run

    def check(self, dataset: str, samples: str) -> None:
        """Refuse to mix predictions of other samples in; `samples` is their `fingerprint`.

        Raises:
            LbsfError: the file's predictions of this dataset are of other samples.
        """
        if self._samples.get(dataset, samples) != samples:
            raise LbsfError(
                f"{self.path}: its predictions of '{dataset}' are of other samples than the raw "
                "data gives now. Give the same raw data, or another file."
            )

    def runs(self, dataset: str) -> list[KeptRun]:
        """Every run of a dataset."""
        return [run for run in self._runs.values() if run.dataset == dataset]

    def add(self, dataset: str, samples: str, folders: Mapping[str, Path]) -> None:
        """Take in the runs of working folders (plan -> folder); `save` then writes the file.

        A run in a folder replaces the one that was kept. One without a hash of its code counts as
        made by the present code.

        Raises:
            LbsfError: the file's predictions of this dataset are of other samples.
        """
        self.check(dataset, samples)
        self._samples[dataset] = samples
        for plan, folder in folders.items():
            for path in sorted(folder.glob("*.*.*.*.parquet")):
                label, contestant, repeat, fold, _ = path.name.rsplit(".", 4)
                code, seconds = _about_run(path)
                key = (dataset, plan, label, contestant, int(repeat), int(fold), code)
                self._take(KeptRun(*key, seconds, read_run(path)))

    def save(self) -> None:
        """Write the file (atomically)."""
        parts = []
        for _, run in sorted(self._runs.items()):
            named = {name: getattr(run, name) for name in (*_KEYS, "cpu_seconds")}
            rows = run.rows.sort_values("row").assign(**named)[_SCHEMA.names]
            parts.append(pa.Table.from_pandas(rows, preserve_index=False).cast(_SCHEMA))
        about = {
            "samples": self._samples,
            "runs": len(parts),
            "date": datetime.now(UTC).isoformat(timespec="seconds"),
        }
        metadata = {_METADATA: json.dumps(about, sort_keys=True).encode()}
        table = pa.concat_tables([_SCHEMA.empty_table(), *parts]).unify_dictionaries()
        _write(table.replace_schema_metadata(metadata), self.path)

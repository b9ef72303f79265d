"""What explaining everybody found of each payment, kept so that one user's page finds it at once.

An explanation is an integral over tens of points of the model, and `lbsf explain-all` has taken it
for everybody. Its file lies by merchant and is read in large pieces; here each sample's values lie
together and can be read by themselves. They are those that explaining the sample now gives, to the
rounding of single precision. Each has a digest of its own, because nobody who opens one user wants
to wait until the whole file is compared; and whoever shows them asks the model once, whose answer
must be the one that was explained.

    sample, logit, baseline_logit, delta, steps   of `gradient.Attributions`
    checked      list of what each merchant adds against the typical user; NaN where nobody is one
    values       list of what each field of each payment adds: payment by payment
    digest       of all of it
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import torch

from lbsf_core.errors import AttributionsError
from lbsf_core.explain.attention import in_use
from lbsf_core.explain.attributions import open_attributions, whole_samples
from lbsf_core.explain.baselines import TYPICAL_PAYMENT, Baseline, disagreement
from lbsf_core.explain.gradient import Attributions, explanations_of, field_names
from lbsf_core.explain.result import TOLERANCE, Explanation
from lbsf_core.fold.batch import FoldedBatch
from lbsf_core.model.bundle import Bundle

Floats = npt.NDArray[np.float32]

#: Samples that are written, and read, together: a third of a megabyte.
TOGETHER = 128
#: Logits that a sample's score may be from the one that was explained: rounding, and no more.
SAME_SCORE = 1e-4
_OF_A_SAMPLE = ["logit", "baseline_logit", "delta", "steps"]
_SCHEMA = pa.schema(
    [
        ("sample", pa.int32()),
        *((name, pa.float64()) for name in _OF_A_SAMPLE[:-1]),
        ("steps", pa.int32()),
        ("checked", pa.large_list(pa.float32())),
        ("values", pa.large_list(pa.float32())),
        ("digest", pa.binary(16)),
    ]
)


@dataclass(frozen=True)
class Kept:
    """What was found of one sample with S merchants and N payments of F fields.

    Attributes:
        sample: its number.
        logit, baseline_logit, delta, steps: as of `gradient.Attributions`.
        checked: (S,) held against the typical user.
        values: (N * F,) logit units, payment by payment.
    """

    sample: int
    logit: float
    baseline_logit: float
    delta: float
    steps: int
    checked: Floats
    values: Floats

    def digest(self) -> bytes:
        """Names all of it: 16 bytes."""
        numbers = (self.sample, self.logit, self.baseline_logit, self.delta, self.steps)
        found = hashlib.blake2b(struct.pack("<qdddq", *numbers), digest_size=16)
        found.update(self.checked.tobytes())
        found.update(self.values.tobytes())
        return found.digest()


def write_kept(attributions: Path, out: Path) -> None:
    """Sort a file of `lbsf explain-all` by sample, a part at a time.

    Args:
        attributions: the file; its rows lie by sample.
        out: written.

    Raises:
        AttributionsError: the values of a merchant's payments miss its own.
    """
    file, _ = open_attributions(attributions)
    columns = [*_OF_A_SAMPLE, "segment", "attribution", "checked", "values"]
    with pa.ipc.new_file(str(out), _SCHEMA) as writer:
        held = _SCHEMA.empty_table()
        for rows in whole_samples(file, columns):
            missed = _missed(rows)
            if not missed <= TOLERANCE:
                raise AttributionsError(
                    f"{attributions}: the values of a merchant's payments miss its own by "
                    f"{missed:.4f}. Run `lbsf explain-all` again."
                )
            held = pa.concat_tables([held, _by_sample(rows)])
            ready = len(held) // TOGETHER * TOGETHER
            writer.write_table(held.slice(0, ready).combine_chunks(), max_chunksize=TOGETHER)
            held = held.slice(ready)
        writer.write_table(held.combine_chunks(), max_chunksize=TOGETHER)


def _missed(rows: pa.Table) -> float:
    """The largest distance of a merchant's value to the sum of its payments'."""
    known = rows.filter(pc.is_valid(rows["segment"]))
    sizes = pc.list_value_length(known["values"]).to_numpy()
    flat = pc.list_flatten(known["values"]).to_numpy()
    sums = np.bincount(np.repeat(np.arange(len(known)), sizes), flat, minlength=len(known))
    found = np.abs(sums - known["attribution"].to_numpy())
    return float(np.max(found, initial=0.0))


def _by_sample(rows: pa.Table) -> pa.Table:
    """One row a sample of the rows of its merchants."""
    numbers, first, sample = np.unique(
        rows["sample"].to_numpy(), return_index=True, return_inverse=True
    )
    paid = pc.is_valid(rows["segment"]).to_numpy()
    sizes = pc.fill_null(pc.list_value_length(rows["values"]), 0).to_numpy()
    lists = {
        "checked": (rows["checked"].drop_null(), paid),
        "values": (pc.list_flatten(rows["values"]), sizes),
    }
    found = rows.select(["sample", *_OF_A_SAMPLE]).take(pa.array(first))
    for name, (flat, of_row) in lists.items():
        counts = np.bincount(sample, of_row, minlength=len(numbers)).astype(np.int64)
        ends = pa.array(np.concatenate([[0], counts.cumsum()]), pa.int64())
        values = flat.cast(pa.float32()).combine_chunks()
        found = found.append_column(name, pa.LargeListArray.from_arrays(ends, values))
    names = [one.digest() for one in _each(found)]
    return found.append_column("digest", pa.array(names, pa.binary(16))).cast(_SCHEMA)


def _each(table: pa.Table | pa.RecordBatch) -> Iterator[Kept]:
    """The rows of a table."""
    columns = (table[name].to_pylist() for name in ("sample", *_OF_A_SAMPLE))
    lists = ([row.values.to_numpy() for row in table[name]] for name in ("checked", "values"))
    for row in zip(*columns, *lists, strict=True):
        yield Kept(*row)


def read_kept(path: Path, sample: int) -> Kept:
    """What was found of one sample.

    Args:
        path: file of `write_kept`.
        sample: its number.

    Raises:
        AttributionsError: that is not what was written.
    """
    try:
        with pa.OSFile(str(path)) as source:
            batch = pa.ipc.open_file(source).get_batch(sample // TOGETHER)
        row = batch.slice(sample % TOGETHER, 1)
        (found,) = _each(row)
        right = found.sample == sample and found.digest() == row["digest"][0].as_py()
    except (OSError, ValueError, pa.ArrowException) as error:
        raise _damaged(path, sample) from error
    if not right:
        raise _damaged(path, sample)
    return found


def _damaged(path: Path, sample: int) -> AttributionsError:
    return AttributionsError(
        f"{path}: what it holds of sample {sample} is not what was written. Make the workspace "
        "again with `lbsf workspace`."
    )


def explain_kept(
    bundle: Bundle, batch: FoldedBatch, kept: Kept, others: Sequence[Baseline] = ()
) -> Explanation | None:
    """The explanation of one sample against the typical payment, of values that were kept.

    Args:
        bundle: the model; it is asked once, for its score and where it looks.
        batch: the sample.
        kept: of it.
        others: the typical user, where somebody is: where he would put other merchants first, a
            warning says so.

    Returns:
        None where the values are not of this score: explain the sample now.
    """
    with torch.no_grad():
        logits, attention = in_use(bundle.model).forward_with_attention(batch)
    shape = len(batch.amounts), len(field_names(bundle.model))
    fits = (len(kept.checked), len(kept.values)) == (len(batch.merchants), shape[0] * shape[1])
    if not fits or not abs(float(logits[0]) - kept.logit) <= SAME_SCORE:
        return None
    found = Attributions(
        fields=kept.values.reshape(shape).astype(np.float64),
        logits=np.array([kept.logit]),
        baseline_logits=np.array([kept.baseline_logit]),
        delta=np.array([kept.delta]),
        steps=np.array([kept.steps]),
        attention=attention,
    )
    (told,) = explanations_of(bundle, batch, found, TYPICAL_PAYMENT)
    held = {other.words: kept.checked.astype(np.float64) for other in others}
    return replace(told, warnings=tuple(disagreement(told.merchant_attributions, held)))

"""What is known of a sample beside its payments: its last score, and the amount at stake."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.csv as pc
import pyarrow.parquet as pq

from lbsf_core.errors import WorkspaceError


def previous_pds(samples: pd.DataFrame, scores: str | Path | None = None) -> pd.Series:
    """The PD of each user's last scoring before the sample's own; NaN where there was none.

    Args:
        samples: user_id, cutoff, pd.
        scores: file made by an earlier `lbsf score` (user_id, cutoff, pd); by default the earlier
            cutoffs among the samples themselves.

    Raises:
        WorkspaceError: the file can't be read, or holds other columns.
    """
    earlier = samples if scores is None else _read(scores, {"user_id", "cutoff", "pd"})
    known = pd.DataFrame(
        {
            "user_id": earlier["user_id"].astype(str),
            "before": _instants(earlier["cutoff"]),
            "previous": earlier["pd"].astype(float),
        }
    ).sort_values("before", kind="stable")
    asked = pd.DataFrame(
        {"user_id": samples["user_id"].astype(str), "cutoff": _instants(samples["cutoff"])}
    )
    asked = asked.rename_axis("row").reset_index().sort_values("cutoff", kind="stable")
    found = pd.merge_asof(
        *(asked, known),
        left_on="cutoff",
        right_on="before",
        by="user_id",
        allow_exact_matches=False,
    )
    return pd.Series(found.set_index("row")["previous"].reindex(samples.index), name="previous_pd")


def amounts_at_stake(samples: pd.DataFrame, amounts: str | Path | None) -> pd.Series:
    """What is lent or to be lent to each sample, in its currency; NaN where nobody said.

    Args:
        samples: user_id, cutoff.
        amounts: CSV or Parquet with user_id, amount, and cutoff where a user has several.

    Raises:
        WorkspaceError: the file can't be read, holds other columns, a negative amount, or two
            amounts for one sample.
    """
    if amounts is None:
        return pd.Series(np.nan, index=samples.index, name="at_stake")
    table = _read(amounts, {"user_id", "amount"})
    values = pd.to_numeric(table["amount"], errors="coerce")
    wrong = np.flatnonzero(~(np.isfinite(values) & (values >= 0)))
    if len(wrong):
        raise WorkspaceError(
            f"{amounts}: row {wrong[0] + 1} has amount '{table['amount'].iloc[wrong[0]]}'; give a "
            "number that is not negative."
        )
    keys = ["user_id", *(["cutoff"] if "cutoff" in table else [])]
    known = pd.DataFrame({"user_id": table["user_id"].astype(str), "at_stake": values})
    asked = pd.DataFrame({"user_id": samples["user_id"].astype(str)})
    if "cutoff" in table:
        known["cutoff"], asked["cutoff"] = (
            _instants(table["cutoff"]),
            _instants(samples["cutoff"]),
        )
    twice = known.duplicated(keys)
    if twice.any():
        raise WorkspaceError(
            f"{amounts}: user '{known.loc[twice, 'user_id'].iloc[0]}' stands there twice"
            + (" at one cutoff." if "cutoff" in keys else "; add a column cutoff.")
        )
    found = asked.merge(known, on=keys, how="left")["at_stake"]
    return pd.Series(found.to_numpy(float), index=samples.index, name="at_stake")


def _read(path: str | Path, wanted: set[str]) -> pd.DataFrame:
    """A Parquet or CSV file with these columns at least; user ids stay text."""
    path = Path(path)
    try:
        if path.suffix.lower() == ".csv":
            text = pc.ConvertOptions(column_types={"user_id": pa.string()})
            table = pc.read_csv(path, convert_options=text)
        else:
            table = pq.read_table(path)
    except (OSError, pa.ArrowException) as error:
        raise WorkspaceError(f"{path}: can't be read as CSV or Parquet ({error}).") from error
    missing = sorted(wanted - set(table.column_names))
    if missing:
        raise WorkspaceError(
            f"{path}: has no column '{missing[0]}'; it holds {', '.join(table.column_names)}."
        )
    frame: pd.DataFrame = table.to_pandas()
    return frame


def _instants(column: pd.Series) -> pd.Series:
    """UTC, to the microsecond."""
    try:
        return pd.to_datetime(column, utc=True).astype("datetime64[us, UTC]")
    except (ValueError, TypeError) as error:
        raise WorkspaceError(f"a cutoff can't be read as a time: {error}.") from error

"""Who folds in `bench_fold`, each in a process of its own: `python -m ...contestants NAME FOLDER`.

Reads FOLDER/payments.parquet and FOLDER/labels.parquet, writes FOLDER/NAME/payments.parquet and
samples.parquet, prints {"seconds", "cpu_seconds", "peak_rss_gb"} as JSON. The clock runs around
the fold alone, imports are done before; the memory is the peak of the whole process.
"""

from __future__ import annotations

import json
import os
import resource
import sys
import time
from importlib import import_module
from pathlib import Path

import numpy as np

#: Environment variable: the memory limit that our fold is given.
LIMIT_ENV = "LBSF_BENCH_MEMORY_LIMIT"
#: The window that every contestant folds with.
WINDOW_DAYS = 1_095


def lbsf(folder: Path) -> None:
    """Our fold, as `lbsf fold` runs it: hashes of all files, fsync and manifest included."""
    from lbsf_core.config import FoldConfig
    from lbsf_core.fold.fold import fold
    from lbsf_core.memory import reuse_freed_memory

    reuse_freed_memory()
    config = FoldConfig(window_days=WINDOW_DAYS)
    paths = (folder / "payments.parquet", folder / "labels.parquet", folder / "lbsf")
    fold(*paths, config, memory_limit=os.environ.get(LIMIT_ENV) or None)


def pandas(folder: Path) -> None:
    """The same work in pandas: categories, no `apply`, no Python loop, one sort on numbers.

    It may assume one cutoff a user, which our fold may not: the cutoff is then a look-up by the
    user's category and needs no join.
    """
    import pandas as pd
    import pyarrow.parquet as pq

    texts = ["user_id", "merchant", "description"]
    table = pq.read_table(
        folder / "payments.parquet",
        columns=[*texts, "timestamp", "amount"],
        read_dictionary=texts,
    )
    payments = table.to_pandas(self_destruct=True, split_blocks=True)
    del table
    samples = pd.read_parquet(folder / "labels.parquet")
    samples = samples.sort_values(["user_id", "cutoff"], ignore_index=True)
    samples.insert(0, "sample", np.arange(len(samples), dtype=np.int32))
    samples["window_start"] = samples["cutoff"] - pd.Timedelta(days=WINDOW_DAYS)

    row = pd.Index(samples["user_id"]).get_indexer(payments["user_id"].cat.categories)
    sample = row.astype(np.int32)[payments.pop("user_id").cat.codes]
    time_us = payments["timestamp"].astype("int64").to_numpy()
    cutoffs = samples["cutoff"].astype("int64").to_numpy()
    starts = samples["window_start"].astype("int64").to_numpy()
    seen = (sample >= 0) & (time_us < cutoffs[sample]) & (time_us >= starts[sample])
    payments, sample, time_us = payments[seen], sample[seen], time_us[seen]

    # Categories in order of their text, so that codes sort as texts do.
    for name in ("merchant", "description"):
        column = payments[name].cat
        payments[name] = column.reorder_categories(sorted(column.categories))
    merchant = payments["merchant"].cat.codes.to_numpy()
    key = pd.Series(sample.astype(np.int64) * len(payments["merchant"].cat.categories) + merchant)
    last = pd.Series(time_us).groupby(key, sort=False).transform("max").to_numpy()
    description = payments["description"].cat.codes.to_numpy()
    # np.lexsort on numbers: a tenth faster here than sort_values, which gives the same order.
    amount = payments["amount"].to_numpy()
    order = np.lexsort((description, amount, time_us, merchant, -last, sample))
    payments, sample, merchant = payments.iloc[order], sample[order], merchant[order]
    fresh_sample = np.ones(len(sample), dtype=bool)
    fresh_sample[1:] = sample[1:] != sample[:-1]
    fresh = fresh_sample.copy()
    fresh[1:] |= merchant[1:] != merchant[:-1]
    number = np.cumsum(fresh) - 1
    segment = (number - number[fresh_sample][np.cumsum(fresh_sample) - 1]).astype(np.int32)
    payments.insert(0, "segment", segment)
    payments.insert(0, "sample", sample)

    out = folder / "pandas"
    out.mkdir(exist_ok=True)
    options = {"compression": "zstd", "compression_level": 1, "row_group_size": 61_440}
    payments.to_parquet(out / "payments.parquet", index=False, **options)
    payments["money_in"] = payments["amount"].clip(lower=0)
    payments["money_out"] = (-payments["amount"]).clip(lower=0)
    counts = payments.groupby("sample", sort=True).agg(
        payments=("segment", "size"),
        segments=("segment", "max"),
        money_in=("money_in", "sum"),
        money_out=("money_out", "sum"),
        first_payment=("timestamp", "min"),
        last_payment=("timestamp", "max"),
    )
    counts["segments"] += 1
    samples = samples.merge(counts, left_on="sample", right_index=True, how="left")
    for name in ("payments", "segments"):
        samples[name] = samples[name].fillna(0).astype(np.int64)
    for name in ("money_in", "money_out"):
        samples[name] = samples[name].fillna(0.0)
    samples["row_start"] = samples["payments"].cumsum() - samples["payments"]
    samples.to_parquet(out / "samples.parquet", index=False, compression="zstd")


def polars(folder: Path) -> None:
    """The same work in Polars: lazy, texts as categories, which it sorts by their text.

    Of what was tried its fastest way: with plain strings it takes a tenth longer.
    """
    import polars as pl

    samples = pl.read_parquet(folder / "labels.parquet", columns=["user_id", "cutoff", "label"])
    samples = samples.sort("user_id", "cutoff").with_row_index("sample")
    start = pl.col("cutoff") - pl.duration(days=WINDOW_DAYS)
    samples = samples.with_columns(pl.col("sample").cast(pl.Int32), start.alias("window_start"))
    paid = pl.scan_parquet(folder / "payments.parquet")
    paid = paid.select("user_id", "merchant", "description", "timestamp", "amount")
    paid = paid.with_columns(pl.col("merchant", "description").cast(pl.Categorical))
    windows = samples.lazy().select("user_id", "sample", "cutoff", "window_start")
    time = pl.col("timestamp")
    order = ["sample", "last", "merchant", "timestamp", "amount", "description"]
    fresh = (pl.col("sample") != pl.col("sample").shift()).fill_null(True)
    other = pl.col("merchant") != pl.col("merchant").shift()
    number, first = pl.col("number"), pl.when(pl.col("fresh")).then(pl.col("number"))
    payments = (
        paid.join(windows, on="user_id")
        .filter((time < pl.col("cutoff")) & (time >= pl.col("window_start")))
        .drop("user_id", "cutoff", "window_start")
        .with_columns(time.max().over("sample", "merchant").alias("last"))
        .sort(order, descending=[name == "last" for name in order])
        .with_columns(fresh.alias("fresh"))
        .with_columns((pl.col("fresh") | other).cast(pl.Int32).cum_sum().alias("number"))
        .with_columns((number - first.forward_fill()).cast(pl.Int32).alias("segment"))
        .select("sample", "segment", "merchant", "description", "timestamp", "amount")
        .collect()
    )
    out = folder / "polars"
    out.mkdir(exist_ok=True)
    payments.write_parquet(
        out / "payments.parquet", compression="zstd", compression_level=1, row_group_size=61_440
    )
    counts = payments.group_by("sample").agg(
        payments=pl.len().cast(pl.Int64),
        segments=pl.col("segment").max().cast(pl.Int64) + 1,
        money_in=pl.col("amount").clip(lower_bound=0).sum(),
        money_out=(-pl.col("amount")).clip(lower_bound=0).sum(),
        first_payment=time.min(),
        last_payment=time.max(),
    )
    zeros = ("payments", "segments", "money_in", "money_out")
    samples = samples.join(counts, on="sample", how="left", maintain_order="left")
    samples = samples.with_columns(pl.col(name).fill_null(0) for name in zeros)
    before = pl.col("payments").cum_sum() - pl.col("payments")
    samples = samples.with_columns(before.alias("row_start"))
    samples.write_parquet(out / "samples.parquet", compression="zstd")


CONTESTANTS = {"lbsf": lbsf, "pandas": pandas, "polars": polars}
_MODULES = {
    "lbsf": ("lbsf_core.fold.fold",),
    "pandas": ("pandas", "pyarrow.parquet"),
    "polars": ("polars",),
}


def peak_rss_gb() -> float:
    """Peak resident memory of this process in GiB."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (2**30 if sys.platform == "darwin" else 2**20)  # macOS counts bytes, Linux KiB


def main(name: str, folder: Path) -> None:
    """Run one contestant and print its figures."""
    for module in _MODULES[name]:
        import_module(module)
    wall, cpu = time.perf_counter(), time.process_time()
    CONTESTANTS[name](folder)
    figures = {"seconds": time.perf_counter() - wall, "cpu_seconds": time.process_time() - cpu}
    print(json.dumps(figures | {"peak_rss_gb": peak_rss_gb()}))


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))

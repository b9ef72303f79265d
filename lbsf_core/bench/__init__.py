"""Benches: the same work for us and for named peers in one run, as JSON with the machine's facts.

    fold.py    `bench_fold`: our fold against pandas, Parquet to Parquet
    score.py   `bench_score`: our model against a flat Transformer and a GRU, payments to logits

This package imports nothing by itself, so that a child process of `bench_fold` measures the
memory of a fold and not that of torch.
"""

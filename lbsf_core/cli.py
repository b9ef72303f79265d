"""The command line: every step from a raw file to an explained score on the screen.

Each command reads its options, calls one function of the library and shows what it returned.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Table

from lbsf_core.config import FoldConfig, ModelConfig, TrainConfig
from lbsf_core.errors import LbsfError

app = typer.Typer(
    name="lbsf",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="See why a customer's payments look risky, and check that the answer is true.",
)
bench = typer.Typer(no_args_is_help=True, help="Measure speed and memory against named peers.")
app.add_typer(bench, name="bench")

#: Tables and bars go to the error stream, results (JSON) to standard output.
console = Console(stderr=True)

Out = Annotated[Path, typer.Option("--out", help="Where to write; replaced if it exists.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]
StorePath = Annotated[Path, typer.Argument(help="Folded store, made by `lbsf fold`.")]
BundlePath = Annotated[Path, typer.Argument(help="Bundle, made by `lbsf train`.")]
Seed = Annotated[int, typer.Option(help="Same seed, same numbers.")]


def main() -> None:
    """Run the command line; an error that the user can act on ends with its own exit code."""
    try:
        app()
    except LbsfError as error:
        console.print(f"[bold red]Error:[/] {_plain(str(error))}", highlight=False)
        sys.exit(error.exit_code)


def _plain(text: str) -> str:
    """Text as it is: rich reads square brackets as markup."""
    return text.replace("[", r"\[")


def _show(title: str, rows: list[tuple[str, str]]) -> None:
    table = Table(title=title, show_header=False, title_justify="left")
    table.add_column(style="bold")
    table.add_column(justify="right", overflow="fold")
    for label, value in rows:
        table.add_row(_plain(label), _plain(value))
    console.print(table)


def _print_json(value: Any) -> None:  # noqa: ANN401 - any JSON value
    typer.echo(json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False))


@contextmanager
def _bar() -> Iterator[Callable[[str, float, float], None]]:
    """A progress bar with ETA; call it with (words, done, in all). A new word starts a new bar."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, transient=True) as progress:
        tasks: dict[str, Any] = {}

        def update(words: str, done: float, total: float, note: str = "") -> None:
            if words not in tasks:
                tasks[words] = progress.add_task(_plain(words), total=total)
            progress.update(
                tasks[words], completed=done, total=total, description=_plain(f"{words} {note}")
            )

        yield update


# ---- payments in ------------------------------------------------------------------------------


@app.command()
def ingest(
    raw: Annotated[list[Path], typer.Argument(help="Raw CSV, TSV or Parquet files, also .gz.")],
    mapping: Annotated[
        str, typer.Option(help="Mapping file (.toml), or berka, berka-1993, birmingham.")
    ],
    out: Out,
    max_reject_share: Annotated[
        float, typer.Option(help="More rejects than this: no output.")
    ] = 0.01,
    memory_limit: Annotated[str, typer.Option(help="Spill to disk beyond this.")] = "2GB",
) -> None:
    """Turn raw payment files into validated payments; rejected rows are kept with their reason."""
    from lbsf_core.payments.ingest import ingest as run

    with console.status("reading") as status:
        summary = run(
            raw,
            mapping,
            out,
            max_reject_share=max_reject_share,
            memory_limit=memory_limit,
            progress=lambda words, rows: status.update(_plain(f"{words}: {rows:,} rows")),
        )
    _show(f"{out}", summary.rows())


@app.command("ingest-labels")
def ingest_labels(
    raw: Annotated[list[Path], typer.Argument(help="Raw label files.")],
    mapping: Annotated[
        str, typer.Option(help="Mapping file (.toml), or berka, birmingham: its [labels] table.")
    ],
    out: Out,
    label: Annotated[
        str | None, typer.Option(help="Which label, if the mapping has several.")
    ] = None,
    max_reject_share: Annotated[
        float, typer.Option(help="More rejects than this: no output.")
    ] = 0.01,
) -> None:
    """Turn raw label files into labels: user, cutoff, label."""
    from lbsf_core.payments.labels import ingest_labels as run

    summary = run(raw, mapping, out, label=label, max_reject_share=max_reject_share)
    _show(f"{out}", summary.rows())


@app.command()
def simulate(
    out: Annotated[Path, typer.Argument(help="Folder to write.")],
    users: Annotated[int, typer.Option(help="How many users.")] = 1000,
    seed: Seed = 0,
    null: Annotated[bool, typer.Option("--null", help="Labels independent of payments.")] = False,
) -> None:
    """Simulate payments with known causes of default. Never evidence of predictive power."""
    from lbsf_core.payments.simulate import simulate as run

    with _bar() as bar:
        found = run(
            out, users=users, seed=seed, null=null, progress=lambda d, n: bar("simulating", d, n)
        )
    _show(
        f"{out} (simulated)",
        [
            ("users", f"{found.users:,}"),
            ("payments", f"{found.payments:,}"),
            ("bad", f"{found.bad:,}"),
            *((f"planted: {cause}", f"{count:,}") for cause, count in found.causes.items()),
        ],
    )


@app.command()
def fold(
    payments: Annotated[Path, typer.Argument(help="Payments, made by `lbsf ingest`.")],
    labels: Annotated[Path, typer.Option(help="Labels, made by `lbsf ingest-labels`.")],
    out: Out,
    window_days: Annotated[
        int | None, typer.Option(help="Observation window; all if left out.")
    ] = None,
    max_merchants: Annotated[int | None, typer.Option(help="Most merchants of a sample.")] = None,
    max_payments: Annotated[int | None, typer.Option(help="Most payments of a segment.")] = None,
    memory_limit: Annotated[str | None, typer.Option(help="Spill to disk beyond this.")] = None,
) -> None:
    """Fold payments by merchant at every (user, cutoff) of the labels."""
    from lbsf_core.fold.fold import fold as run

    config = FoldConfig(window_days, max_merchants, max_payments)
    with console.status("folding"):
        summary = run(payments, labels, out, config, memory_limit=memory_limit)
    _show(f"{out}", summary.rows())


# ---- model ------------------------------------------------------------------------------------


@app.command()
def train(
    store: StorePath,
    out: Out,
    epochs: Annotated[int, typer.Option(help="At most.")] = TrainConfig.epochs,
    batch_samples: Annotated[
        int, typer.Option(help="Samples in a step.")
    ] = TrainConfig.batch_samples,
    learning_rate: Annotated[float, typer.Option(help="Peak.")] = TrainConfig.learning_rate,
    width: Annotated[int, typer.Option(help="Size of every vector.")] = ModelConfig.width,
    relation_layers: Annotated[
        int, typer.Option(help="Layers across merchants.")
    ] = ModelConfig.relation_layers,
    split_by: Annotated[str, typer.Option(help="user or time.")] = TrainConfig.split_by,
    seed: Seed = 0,
) -> None:
    """Train a bundle. A run that was killed goes on when the same command is given again."""
    from lbsf_core.fold.store import FoldedStore
    from lbsf_core.train.train import train as run

    config = TrainConfig(
        epochs=epochs,
        batch_samples=batch_samples,
        learning_rate=learning_rate,
        split_by=split_by,
        seed=seed,
    )
    model = ModelConfig(width=width, relation_layers=relation_layers)
    with _bar() as bar:
        trained = run(
            FoldedStore.open(store),
            out,
            model,
            config,
            progress=lambda s: bar("training", s.done, s.total, _step(s)),  # type: ignore[call-arg]
        )
    rows = [(f"{part} samples", f"{size:,}") for part, size in trained.sizes.items()]
    rows.append(("best epoch", str(trained.fitted.best_epoch)))
    rows += _metric_rows(trained.bundle.metrics)
    _show(f"{out} (metrics on the test part)", rows)


def _step(step: Any) -> str:  # noqa: ANN401 - lbsf_core.train.loop.Step, imported late
    auc = "" if step.auc != step.auc else f", validation AUC {step.auc:.3f}"
    return f"epoch {step.epoch}, loss {step.loss:.3f}{auc}"


def _metric_rows(metrics: Any) -> list[tuple[str, str]]:  # noqa: ANN401 - name -> value, lo, hi
    return [
        (name, f"{m['value']:.3f}  (95% {m['lo']:.3f} to {m['hi']:.3f})")
        for name, m in metrics.items()
    ]


@app.command()
def score(store: StorePath, bundle: BundlePath, out: Out) -> None:
    """Write the calibrated PD and the logit of every sample."""
    from lbsf_core.fold.store import FoldedStore
    from lbsf_core.model.bundle import Bundle
    from lbsf_core.score.scorer import score_store, write_scores

    start = time.perf_counter()
    with _bar() as bar:
        scores = score_store(
            FoldedStore.open(store), Bundle.load(bundle), lambda d, n: bar("scoring", d, n)
        )
    write_scores(scores, out)
    seconds = time.perf_counter() - start
    _show(f"{out}", [("samples", f"{len(scores):,}"), ("seconds", f"{seconds:.1f}")])


@app.command()
def evaluate(
    store: StorePath,
    bundle: Annotated[
        Path | None, typer.Argument(help="Bundle to measure on users it never saw.")
    ] = None,
    cv: Annotated[int | None, typer.Option(help="Cross-validate with this many folds.")] = None,
    repeats: Annotated[int, typer.Option(help="Times the folds are drawn anew.")] = 1,
    out: Annotated[Path | None, typer.Option("--out", help="Keep the evaluation here.")] = None,
    epochs: Annotated[int, typer.Option(help="At most, in cross-validation.")] = TrainConfig.epochs,
    seed: Seed = 0,
    as_json: AsJson = False,
) -> None:
    """Measure AUC, KS, PR-AUC, Brier and ECE with intervals by user: a bundle, or by --cv."""
    from lbsf_core.fold.store import FoldedStore

    folded = FoldedStore.open(store)
    if cv:
        from lbsf_core.evaluate.protocol import cross_validate

        with _bar() as bar:
            found = cross_validate(
                folded,
                folds=cv,
                repeats=repeats,
                seed=seed,
                config=TrainConfig(epochs=epochs, seed=seed),
                progress=lambda run, runs, s: bar(  # type: ignore[call-arg]
                    f"fit {run} of {runs}", s.done, s.total, _step(s)
                ),
            )
        if out:
            found.save(out)
        result = found.to_dict()
        title = f"{store}: {cv}-fold by user, {repeats} repeats, pooled out-of-fold"
        rows = [("samples", f"{result['protocol']['samples']:,}")]
        rows += [("bad", f"{result['protocol']['bad']:,}"), *_metric_rows(result["metrics"])]
    else:
        result, title, rows = _evaluate_bundle(folded, bundle)
    about = folded.manifest
    if about.proxy:
        rows.append(("note", "the label is a proxy of risk, not a default"))
    if about.simulated:
        rows.append(("note", "simulated payments: never evidence of predictive power"))
    if as_json:
        _print_json(result)
    else:
        _show(title, rows)


def _evaluate_bundle(
    folded: Any,  # noqa: ANN401 - FoldedStore, imported late
    bundle: Path | None,
) -> tuple[dict[str, Any], str, list[tuple[str, str]]]:
    import numpy as np
    import pandas as pd

    from lbsf_core.evaluate.metrics import evaluate as measure
    from lbsf_core.model.bundle import Bundle
    from lbsf_core.score.scorer import score_store
    from lbsf_core.train.split import parts

    if bundle is None:
        raise LbsfError("Name a bundle to measure, or give --cv 5 to cross-validate.")
    loaded = Bundle.load(bundle)
    scores = score_store(folded, loaded).to_pandas()
    labels = scores["label"].to_numpy(dtype=np.float64)
    cutoffs = pd.DatetimeIndex(scores["cutoff"]).as_unit("us").asi8
    part = parts(list(scores["user_id"]), cutoffs, labels, loaded.training["split"])
    seen = scores[(part == 2) & np.isfinite(labels)]
    found = measure(seen["label"].to_numpy(), seen["pd"].to_numpy(), list(seen["user_id"]))
    metrics = {name: metric.to_dict() for name, metric in found.items()}
    bad = int(seen["label"].sum())
    result = {"samples": len(seen), "bad": bad, "metrics": metrics}
    rows = [("samples", f"{len(seen):,}"), ("bad", f"{bad:,}"), *_metric_rows(metrics)]
    return result, f"{bundle} on users it never saw", rows


@app.command()
def explain(
    store: StorePath,
    bundle: BundlePath,
    user: Annotated[str, typer.Option(help="User id.")],
    cutoff: Annotated[
        str | None, typer.Option(help="ISO date or time (UTC); the latest if left out.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Explain one score: merchants, payments and fields that add up, and where the model looked."""
    import pandas as pd

    from lbsf_core.explain.gradient import explain as run
    from lbsf_core.fold.store import FoldedStore
    from lbsf_core.model.bundle import Bundle

    folded = FoldedStore.open(store)
    when = None if cutoff is None else _instant(cutoff)
    sample = folded.find(user, None if when is None else pd.Timestamp(when))
    found = run(Bundle.load(bundle), folded.read([sample]))[0]
    if as_json:
        _print_json(found.to_dict())
        return
    frame = found.merchants_frame()
    frame = frame.reindex(frame["attribution"].abs().sort_values(ascending=False).index)
    table = Table(
        title=_plain(f"{user} at {found.cutoff}: PD {found.pd:.1%}"), title_justify="left"
    )
    for heading in ("merchant", "payments", "total", "attribution (logit)", "attention"):
        table.add_column(heading, justify="left" if heading == "merchant" else "right")
    for row in frame.head(20).itertuples():
        table.add_row(
            _plain(str(row.merchant)),
            f"{row.payments:,}",
            f"{row.total:,.2f}",
            f"{row.attribution:+.3f}",
            f"{row.weight:.1%}",
        )
    console.print(table)
    rows = [
        ("logit", f"{found.logit:.4f}"),
        ("baseline logit", f"{found.baseline_logit:.4f} ({found.baseline})"),
        ("completeness error", f"{found.delta:+.1e}"),
    ]
    _show("check", rows + [("PROBLEM", problem) for problem in found.problems()])


def _instant(text: str) -> datetime:
    try:
        when = datetime.fromisoformat(text)
    except ValueError as error:
        raise LbsfError(f"--cutoff '{text}' is no ISO date; write it as 2016-10-01.") from error
    return when.replace(tzinfo=UTC) if when.tzinfo is None else when.astimezone(UTC)


@app.command("explain-all")
def explain_all(store: StorePath, bundle: BundlePath, out: Out) -> None:
    """Explain every sample at merchant level, to be handed to `lbsf workspace --attributions`."""
    from lbsf_core.explain.batch import write_attributions
    from lbsf_core.fold.store import FoldedStore
    from lbsf_core.model.bundle import Bundle

    with _bar() as bar:
        write_attributions(
            FoldedStore.open(store), Bundle.load(bundle), out, lambda d, n: bar("explaining", d, n)
        )
    console.print(f"{_plain(str(out))} is ready.")


# ---- screen -----------------------------------------------------------------------------------


@app.command()
def workspace(
    store: StorePath,
    bundle: BundlePath,
    out: Out,
    name: Annotated[str | None, typer.Option(help="Shown in the dashboard.")] = None,
    evaluation: Annotated[
        Path | None, typer.Option(help="Made by `lbsf evaluate --cv --out`; for the Model page.")
    ] = None,
    attributions: Annotated[
        Path | None, typer.Option(help="Made by `lbsf explain-all`; else explained now.")
    ] = None,
) -> None:
    """Score and explain every sample: the folder that the dashboard loads."""
    from lbsf_core.workspace import build_workspace

    with _bar() as bar:
        build_workspace(
            *(store, bundle, out),
            name=name,
            evaluation=evaluation,
            attributions=attributions,
            progress=bar,
        )
    console.print(f"{_plain(str(out))} is ready: `lbsf dashboard {_plain(str(out))}`")


@app.command()
def dashboard(
    folder: Annotated[Path, typer.Argument(help="A workspace, or a folder of workspaces.")],
    port: Annotated[int | None, typer.Option(help="8501, or the next free one.")] = None,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
) -> None:
    """Open the dashboard on one workspace or a folder of them."""
    _serve(folder, port, host)


@app.command()
def demo(
    out: Annotated[Path, typer.Option("--out", help="Where the demo's files go.")] = Path(
        ".lbsf/demo"
    ),
    prepare_only: Annotated[bool, typer.Option("--prepare-only", help="Do all but serve.")] = False,
    port: Annotated[int | None, typer.Option(help="8501, or the next free one.")] = None,
) -> None:
    """Fold, score and explain the sample payments, and open the dashboard on them."""
    from lbsf_core.demo import prepare

    with _bar() as bar:
        ready = prepare(out, progress=bar)
    console.print(f"The demo workspace is ready in {_plain(str(ready))}.")
    if not prepare_only:
        _serve(ready, port, "127.0.0.1")


def _serve(folder: Path, port: int | None, host: str) -> None:
    # The app is the library's user, so it is found by name and only here: the library itself
    # draws nothing (see the import contracts in pyproject.toml).
    import importlib

    code: int = importlib.import_module("dashboard.serve").serve(folder, port=port, host=host)
    raise typer.Exit(code)


# ---- bench ------------------------------------------------------------------------------------


@bench.command("fold")
def bench_fold(
    payments: Annotated[int, typer.Option(help="How many.")] = 1_000_000, as_json: AsJson = False
) -> None:
    """Fold payments, Parquet to Parquet, against pandas doing the same work."""
    from lbsf_core.bench import bench_fold as run

    _result("fold", run(payments), as_json)


@bench.command("score")
def bench_score(
    lengths: Annotated[str, typer.Option(help="Payments per user.")] = "512,2048,8192",
    as_json: AsJson = False,
) -> None:
    """Score against a flat Transformer and a GRU of the same width on the same payments."""
    from lbsf_core.bench import bench_score as run

    try:
        numbers = [int(part) for part in lengths.split(",")]
    except ValueError as error:
        raise LbsfError(f"--lengths '{lengths}': write numbers with commas, 512,2048.") from error
    _result("score", run(numbers), as_json)


def _result(title: str, found: dict[str, Any], as_json: bool) -> None:
    if as_json:
        _print_json(found)
        return
    rows = []
    for key, value in found.items():
        inner = value.items() if isinstance(value, dict) else (("", value),)
        rows += [
            (f"{key} {name}".strip(), f"{v:,.2f}" if isinstance(v, float) else str(v))
            for name, v in inner
        ]
    _show(title, rows)

"""Evaluation: a bundle, a cross-validated model, contestants side by side, the benchmark."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from lbsf_core.cli.common import (
    AsJson,
    Seed,
    SettingsPath,
    StorePath,
    app,
    bar_of,
    console,
    plain,
    print_json,
    show,
)
from lbsf_core.cli.models import metric_rows, step_words
from lbsf_core.config import TrainConfig
from lbsf_core.errors import LbsfError
from lbsf_core.files import atomic_write, dump_json
from lbsf_core.settings import Settings, load_settings, override


@app.command()
def evaluate(
    store: StorePath,
    bundle: Annotated[
        Path | None, typer.Argument(help="Bundle to measure on users it never saw.")
    ] = None,
    cv: Annotated[int | None, typer.Option(help="Cross-validate with this many folds.")] = None,
    repeats: Annotated[int, typer.Option(help="Times the folds are drawn anew.")] = 1,
    out: Annotated[Path | None, typer.Option("--out", help="Keep the evaluation here.")] = None,
    epochs: Annotated[
        int | None, typer.Option(help=f"At most, in cross-validation ({TrainConfig.epochs}).")
    ] = None,
    settings: SettingsPath = None,
    compare: Annotated[
        str | None, typer.Option(help="Contestants with commas, or all: see `lbsf contestants`.")
    ] = None,
    payments: Annotated[
        list[Path] | None, typer.Option(help="Unlabelled payments, for contestants that pre-train.")
    ] = None,
    by: Annotated[str, typer.Option(help="With --compare: folds by user, or by time.")] = "user",
    seed: Seed = 0,
    as_json: AsJson = False,
) -> None:
    """Measure with intervals by user: a bundle, a model by --cv, or contestants by --compare."""
    from lbsf_core.fold.store import FoldedStore

    folded = FoldedStore.open(store)
    given = load_settings(settings)
    if compare:
        chosen = given if settings else None
        _compare(store, compare, payments or [], (cv or 5, repeats, by, seed), chosen, out, as_json)
        return
    if cv:
        from lbsf_core.evaluate.protocol import cross_validate

        with bar_of() as bar:
            found = cross_validate(
                folded,
                folds=cv,
                repeats=repeats,
                seed=seed,
                model_config=given.model,
                config=override(given.train, epochs=epochs, seed=seed),
                progress=lambda run, runs, s: bar(  # type: ignore[call-arg]
                    f"fit {run} of {runs}", s.done, s.total, step_words(s)
                ),
            )
        if out:
            found.save(out)
        result = found.to_dict()
        title = f"{store}: {cv}-fold by user, {repeats} repeats, pooled out-of-fold"
        rows = [("samples", f"{result['protocol']['samples']:,}")]
        rows += [("bad", f"{result['protocol']['bad']:,}"), *metric_rows(result["metrics"])]
    else:
        result, title, rows = _evaluate_bundle(folded, bundle)
    about = folded.manifest
    if about.proxy:
        rows.append(("note", "the label is a proxy of risk, not a default"))
    if about.simulated:
        rows.append(("note", "simulated payments: never evidence of predictive power"))
    if as_json:
        print_json(result)
    else:
        show(title, rows)


def _evaluate_bundle(
    folded: Any,  # noqa: ANN401 - FoldedStore, imported late
    bundle: Path | None,
) -> tuple[dict[str, Any], str, list[tuple[str, str]]]:
    import numpy as np
    import pandas as pd

    from lbsf_core.evaluate.metrics import evaluate as measure
    from lbsf_core.model.bundle import Bundle
    from lbsf_core.score.stream import score_stream
    from lbsf_core.train.split import parts

    if bundle is None:
        raise LbsfError("Name a bundle to measure, or give --cv 5 to cross-validate.")
    loaded = Bundle.load(bundle)
    scores = score_stream(folded, loaded).to_pandas()
    labels = scores["label"].to_numpy(dtype=np.float64)
    cutoffs = pd.DatetimeIndex(scores["cutoff"]).as_unit("us").asi8
    part = parts(list(scores["user_id"]), cutoffs, labels, loaded.training["split"])
    seen = scores[(part == 2) & np.isfinite(labels)]
    found = measure(seen["label"].to_numpy(), seen["pd"].to_numpy(), list(seen["user_id"]))
    metrics = {name: metric.to_dict() for name, metric in found.items()}
    bad = int(seen["label"].sum())
    result = {"samples": len(seen), "bad": bad, "metrics": metrics}
    rows = [("samples", f"{len(seen):,}"), ("bad", f"{bad:,}"), *metric_rows(metrics)]
    return result, f"{bundle} on users it never saw", rows


def _compare(
    store: Path,
    names: str,
    payments: list[Path],
    protocol: tuple[int, int, str, int],
    given: Settings | None,
    out: Path | None,
    as_json: bool,
) -> None:
    from lbsf_core.evaluate.contest import compare_store
    from lbsf_core.evaluate.contestants import Setting

    folds, repeats, by, seed = protocol
    setting = None
    if given:
        setting = Setting(
            model=given.model,
            train=given.train,
            pretrain_model=given.model,
            pretrain=given.pretrain,
        )
    with bar_of() as bar:
        report = compare_store(
            store,
            None if names == "all" else names.split(","),
            payments,
            folds=folds,
            repeats=repeats,
            by=by,
            seed=seed,
            setting=setting,
            work=out.with_name(f"{out.name}.runs") if out else None,
            progress=bar,
        )
    _show_report(report, out, as_json)


def _show_report(report: dict[str, Any], out: Path | None, as_json: bool) -> None:
    """Print a comparison, and keep it as JSON and HTML."""
    from lbsf_core.evaluate.html import page

    if out:
        with atomic_write(out) as folder:
            folder.mkdir()
            (folder / "report.json").write_text(dump_json(report), encoding="utf-8")
            (folder / "report.html").write_text(page(report), encoding="utf-8")
    if as_json:
        print_json(report)
        return
    for name, found in report.items():
        if name == "about":
            continue
        ranked = sorted(found["contestants"].items(), key=lambda item: -item[1]["auc"])
        show(
            f"{name}: AUC (95% interval)",
            [(k, f"{e['auc']:.3f}  ({e['lo']:.3f} to {e['hi']:.3f})") for k, e in ranked]
            + [
                (k, f"{d['auc']:+.3f}  ({d['lo']:+.3f} to {d['hi']:+.3f})")
                for k, d in found["differences"].items()
            ],
        )
    for entry in report["about"]["datasets"]:
        console.print(f"{plain(entry['name'])}: {plain(entry['note'])}")


@app.command()
def contestants() -> None:
    """List who can be compared."""
    from lbsf_core.evaluate.contestants import BLENDS, CONTESTANTS

    rows = [(name, entry.about) for name, entry in CONTESTANTS.items()]
    show(
        "for `lbsf evaluate --compare`",
        rows + [(name, blend.about) for name, blend in BLENDS.items()],
    )


@app.command()
def benchmark(
    raw: Annotated[Path, typer.Argument(help="Folder of the raw datasets: birmingham, berka.")],
    out: Annotated[Path, typer.Option("--out", help="Folder of the report.")],
    work: Annotated[
        Path, typer.Option(help="What is done is kept here; a stopped run goes on from it.")
    ] = Path(".lbsf/benchmark"),
    datasets: Annotated[str, typer.Option(help="With commas.")] = "birmingham,berka",
    repeats: Annotated[int | None, typer.Option(help="At most.")] = None,
    only: Annotated[str | None, typer.Option(help="Contestants, with commas.")] = None,
    report_only: Annotated[
        bool,
        typer.Option("--report-only", help="Run nothing; report on what there is (in --from)."),
    ] = False,
    keep: Annotated[
        Path | None, typer.Option(help="Keep what all runs said in this file too, to go on from.")
    ] = None,
    kept: Annotated[
        Path | None,
        typer.Option("--from", help="Made by --keep: what today's code would say again is done."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Run every contestant on real payments, and report with intervals on every difference."""
    from lbsf_core.evaluate.contest import benchmark as run
    from lbsf_core.evaluate.datasets import DATASETS

    names = datasets.split(",")
    unknown = sorted(set(names) - set(DATASETS))
    if unknown:
        raise LbsfError(f"--datasets: '{unknown[0]}' is none of {sorted(DATASETS)}.")
    with bar_of() as bar:
        report = run(
            raw,
            work,
            names,
            repeats=repeats,
            contestants=only.split(",") if only else None,
            run_missing=not report_only,
            kept=kept,
            keep=keep,
            progress=bar,
            told=lambda words: console.print(plain(words)),
        )
    _show_report(report, out, as_json)

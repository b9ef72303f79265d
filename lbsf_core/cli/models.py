"""Models: train, score, evaluate."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated, Any

import typer

from lbsf_core.cli.common import (
    BundlePath,
    DeviceName,
    EngineName,
    Master,
    Out,
    Seed,
    SettingsPath,
    StorePath,
    app,
    bar_of,
    console,
    show,
)
from lbsf_core.config import ModelConfig, PretrainConfig, TrainConfig
from lbsf_core.settings import load_settings, override
from lbsf_core.spark import LOCAL

WIDTH = f"Size of every vector ({ModelConfig.width})."


@app.command()
def pretrain(
    payments: Annotated[list[Path], typer.Argument(help="Payments, made by `lbsf ingest`.")],
    out: Out,
    window_days: Annotated[
        int | None, typer.Option(help="Observation window, as the labelled samples are folded.")
    ] = None,
    horizon_days: Annotated[
        int | None,
        typer.Option(help=f"How far ahead is looked ({PretrainConfig.horizon_days})."),
    ] = None,
    every_days: Annotated[
        int | None,
        typer.Option(help=f"Days between the cutoffs of a user ({PretrainConfig.every_days})."),
    ] = None,
    end: Annotated[
        str | None,
        typer.Option(
            help="file: all are observed to its end; user: to their last payment "
            f"({PretrainConfig.end})."
        ),
    ] = None,
    without: Annotated[
        Path | None, typer.Option(help="Labels file whose users are left out, e.g. a test set.")
    ] = None,
    epochs: Annotated[int | None, typer.Option(help=f"Passes ({PretrainConfig.epochs}).")] = None,
    width: Annotated[int | None, typer.Option(help=WIDTH)] = None,
    settings: SettingsPath = None,
    seed: Seed = 0,
) -> None:
    """Learn what payments do next, without labels: a bundle for `lbsf train --init`."""
    import pyarrow.parquet as pq

    from lbsf_core.train.pretrain import pretrain_bundle

    given = load_settings(settings)
    config = override(
        given.pretrain,
        horizon_days=horizon_days,
        every_days=every_days,
        end=end,
        epochs=epochs,
        seed=seed,
    )
    left_out = pq.read_table(without, columns=["user_id"])["user_id"].to_pylist() if without else []
    with bar_of() as bar:
        bundle = pretrain_bundle(
            payments,
            out,
            window_days,
            override(given.model, width=width),
            config,
            without=left_out,
            progress=lambda s: bar("pre-training", s.done, s.total, step_words(s)),  # type: ignore[call-arg]
        )
    about = bundle.training
    show(
        f"{out}",
        [
            ("samples", f"{about['samples']:,}"),
            ("users", f"{about['users']:,}"),
            ("users left out", f"{about['left_out']:,}"),
        ],
    )


@app.command()
def train(
    store: StorePath,
    out: Out,
    epochs: Annotated[int | None, typer.Option(help=f"At most ({TrainConfig.epochs}).")] = None,
    batch_samples: Annotated[
        int | None, typer.Option(help=f"Samples in a step ({TrainConfig.batch_samples}).")
    ] = None,
    learning_rate: Annotated[
        float | None, typer.Option(help=f"Peak ({TrainConfig.learning_rate}).")
    ] = None,
    width: Annotated[int | None, typer.Option(help=WIDTH)] = None,
    relation_layers: Annotated[
        int | None, typer.Option(help=f"Layers across merchants ({ModelConfig.relation_layers}).")
    ] = None,
    split_by: Annotated[
        str | None, typer.Option(help=f"user or time ({TrainConfig.split_by}).")
    ] = None,
    settings: SettingsPath = None,
    seed: Seed = 0,
    init: Annotated[
        Path | None, typer.Option(help="Start from a bundle made by `lbsf pretrain`.")
    ] = None,
    in_memory: Annotated[
        int, typer.Option(help="Payments that are held in memory; of more, a step reads its own.")
    ] = 2_000_000,
) -> None:
    """Train a bundle. A run that was killed goes on when the same command is given again.

    With several processes: torchrun --nproc-per-node 2 --no-python lbsf train STORE --out BUNDLE
    """
    from lbsf_core.fold.store import FoldedStore
    from lbsf_core.model.bundle import Bundle
    from lbsf_core.train.parallel import rank
    from lbsf_core.train.train import train as run

    given = load_settings(settings)
    config = override(
        given.train,
        epochs=epochs,
        batch_samples=batch_samples,
        learning_rate=learning_rate,
        split_by=split_by,
        seed=seed,
    )
    model = override(given.model, width=width, relation_layers=relation_layers)
    console.quiet = rank() > 0
    with bar_of() as bar:
        trained = run(
            FoldedStore.open(store),
            out,
            model,
            config,
            init=Bundle.load(init, pretrained=True) if init else None,
            in_memory=in_memory,
            progress=lambda s: bar("training", s.done, s.total, step_words(s)),  # type: ignore[call-arg]
        )
    rows = [(f"{part} samples", f"{size:,}") for part, size in trained.sizes.items()]
    rows.append(("best epoch", str(trained.fitted.best_epoch)))
    rows += metric_rows(trained.bundle.metrics)
    show(f"{out} (metrics on the test part)", rows)


def step_words(step: Any) -> str:  # noqa: ANN401 - lbsf_core.train.loop.Step, imported late
    """What a training step has to say."""
    auc = "" if step.auc != step.auc else f", validation AUC {step.auc:.3f}"
    return f"epoch {step.epoch}, loss {step.loss:.3f}{auc}"


def metric_rows(metrics: Any) -> list[tuple[str, str]]:  # noqa: ANN401 - name -> value, lo, hi
    """Metrics with their intervals, for a table."""
    return [
        (name, f"{m['value']:.3f}  (95% {m['lo']:.3f} to {m['hi']:.3f})")
        for name, m in metrics.items()
    ]


@app.command()
def score(
    store: StorePath,
    bundle: BundlePath,
    out: Out,
    prior: Annotated[
        float | None, typer.Option(help="Default rate here, where it is not that of training.")
    ] = None,
    engine: EngineName = "local",
    master: Master = LOCAL,
    device: DeviceName = "cpu",
) -> None:
    """Write the calibrated PD and the logit of every sample."""
    from lbsf_core.errors import LbsfError
    from lbsf_core.fold.store import FoldedStore
    from lbsf_core.model.bundle import Bundle
    from lbsf_core.score.stream import score_parts, write_score_parts

    start = time.perf_counter()
    if engine == "spark":
        if device != "cpu":
            raise LbsfError(f"--device {device}: Spark's workers score on CPUs; leave it out.")
        from lbsf_core.score.spark import score_on_spark

        scores = score_on_spark(FoldedStore.open(store), bundle, master=master, prior=prior)
        samples = write_score_parts([scores], out)
    else:
        with bar_of() as bar:
            parts = score_parts(
                FoldedStore.open(store),
                Bundle.load(bundle).to(device),
                lambda d, n: bar("scoring", d, n),
                prior=prior,
            )
            samples = write_score_parts(parts, out)
    seconds = time.perf_counter() - start
    show(f"{out}", [("samples", f"{samples:,}"), ("seconds", f"{seconds:.1f}")])


@app.command()
def update(
    store: StorePath,
    bundle: BundlePath,
    payments: Annotated[
        Path, typer.Option(help="New payments, made by `lbsf ingest` with the store's mapping.")
    ],
    out: Out,
    states: Annotated[
        Path | None,
        typer.Option(help="Where merchants' states are kept; beside the store if left out."),
    ] = None,
) -> None:
    """Add payments to a store and write every score: only what they touch is done again.

    The first time, and with another bundle, every merchant is encoded once.
    """
    from lbsf_core.fold.store import FoldedStore
    from lbsf_core.model.bundle import Bundle
    from lbsf_core.score.scorer import write_scores
    from lbsf_core.score.update import update as run

    start = time.perf_counter()
    with bar_of() as bar:
        done = run(
            FoldedStore.open(store), Bundle.load(bundle), payments, states=states, progress=bar
        )
    write_scores(done.scores, out)
    moved = abs(done.scores["pd"].to_numpy()[done.appended.samples] - done.before)
    rows = [*done.appended.rows(), ("segments encoded again", f"{done.encoded:,}")]
    if len(moved):
        rows.append(("largest move of a PD", f"{moved.max():.2%}"))
    if done.made:
        rows.append(("states", "of all merchants made first"))
    show(f"{out}", [*rows, ("seconds", f"{time.perf_counter() - start:.1f}")])

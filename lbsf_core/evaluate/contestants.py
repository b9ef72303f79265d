"""Who is compared: each contestant learns from some samples and gives outputs for others.

A contestant never sees the samples that it is asked about: vocabularies, scales, knots, common
words, pre-training and trees all come from the rows it fits on (and, for pre-training, from
unlabelled payments of users other than those it scores). `benchmark.py` runs them all over the
same folds, as ensembles of the same number of members.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import QuantileTransformer, StandardScaler

from lbsf_core.config import ModelConfig, PretrainConfig, TrainConfig
from lbsf_core.errors import LbsfError
from lbsf_core.evaluate.aggregates import Aggregates
from lbsf_core.evaluate.controls import CONTROLS, Control
from lbsf_core.evaluate.peers import (
    DecoupledLBSF,
    FlatPeer,
    GRUBody,
    SliceEncoder,
    TransformerBody,
    draw_slices,
)
from lbsf_core.fold.batch import FoldedBatch, Ints
from lbsf_core.model.fields import signed_log
from lbsf_core.model.lbsf import LBSF
from lbsf_core.payments.schema import Field
from lbsf_core.score.scorer import batch_logits, passes
from lbsf_core.train.histories import Histories
from lbsf_core.train.loop import fit, run_epochs
from lbsf_core.train.pretrain import forecasts, pretrain

Floats = npt.NDArray[np.float64]

#: Gradient boosting: the grid that inner folds choose from. Each is 200 to 300 small steps on
#: random thirds of the columns and 70 % of the rows.
TREES: tuple[dict[str, Any], ...] = (
    {"num_leaves": 7, "learning_rate": 0.03, "n_estimators": 200, "min_child_samples": 30},
    {"num_leaves": 15, "learning_rate": 0.02, "n_estimators": 300, "min_child_samples": 50},
    {"num_leaves": 4, "learning_rate": 0.05, "n_estimators": 200, "min_child_samples": 10},
)
_ALL_TREES: dict[str, Any] = {
    "colsample_bytree": 0.3,
    "subsample": 0.7,
    "subsample_freq": 1,
    "reg_lambda": 10.0,
    "verbose": -1,
    "n_jobs": 1,
}
#: Inverse penalties of the scorecard that inner folds choose from.
PENALTIES = (0.001, 0.003, 0.01, 0.03)


@dataclass(frozen=True)
class Setting:
    """How neural contestants are built and trained on one dataset."""

    #: Of every network trained from scratch.
    model: ModelConfig = field(
        default_factory=lambda: ModelConfig(width=32, text_dropout=0.9, dropout=0.4)
    )
    #: Changes to `model` that inner folds choose from, for every LBSF trained from scratch.
    grid: tuple[dict[str, Any], ...] = ({},)
    #: As many for flat peers.
    flat_grid: tuple[dict[str, Any], ...] = ({},)
    train: TrainConfig = field(
        default_factory=lambda: TrainConfig(epochs=8, batch_samples=128, keep="last")
    )
    #: Sizes where much is learned from unlabelled payments, which needs less dropout. It reads the
    #: gaps across merchants, which help what is pre-trained but not what learns from labels alone.
    pretrain_model: ModelConfig = field(
        default_factory=lambda: ModelConfig(width=32, text_dropout=0.9, dropout=0.2, user_gap=True)
    )
    pretrain: PretrainConfig = field(default_factory=lambda: PretrainConfig(epochs=12))
    #: Flat peers learn more slowly: they get more epochs, as many as still helped.
    flat_epochs: int = 14
    #: Passes of contrastive pre-training, one sample of each user in a pass.
    slice_epochs: int = 20
    #: Newest payments that flat peers read (nine of ten histories are shorter).
    newest: int = 160


@dataclass(frozen=True)
class Data:
    """One dataset: samples, what to predict of them, and unlabelled histories.

    Attributes:
        batch: B labelled samples.
        extra: the extra fields of the payments.
        labels: name -> (B,) 1 = bad, 0 = good.
        histories: for pre-training; None leaves contestants out that need it.
        setting: of neural contestants.
    """

    batch: FoldedBatch
    extra: tuple[Field, ...]
    labels: dict[str, Floats]
    histories: Histories | None
    setting: Setting


@dataclass(frozen=True)
class Task:
    """Fit on some rows, give outputs for others.

    Attributes:
        data: the dataset.
        label: name of what to predict.
        rows: to fit on.
        score: rows whose outputs are wanted; their users are none of those in `rows`.
        unseen: users that nothing may be learned from, not even their unlabelled payments.
        until: nothing after this instant may be learned from (microseconds UTC); None = all.
        seed: of this member.
        shared: what members of several contestants and labels have in common.
    """

    data: Data
    label: str
    rows: Ints
    score: Ints
    unseen: frozenset[str]
    until: int | None
    seed: int
    shared: dict[str, Any]

    @property
    def y(self) -> Floats:
        """(rows,) labels to fit on."""
        found: Floats = self.data.labels[self.label][self.rows]
        return found


Outputs = Callable[[Task], Floats]
#: Sizes, extra fields, setting and training part -> a network that is not yet trained.
Build = Callable[[ModelConfig, tuple[Field, ...], Setting, FoldedBatch], torch.nn.Module]


@dataclass(frozen=True)
class Contestant:
    """One way to score.

    Attributes:
        about: what it is, in words, for the report.
        outputs: (score, Q) outputs of a task.
        combine: how Q outputs become one logit, on inner held-out samples only: "best" (the one
            of highest AUC), "logistic" (a penalised logistic regression) or "boosted" (gradient
            boosting on the outputs and on user and merchant-level aggregates).
        refits: fits on all training rows whose mean scores the test rows; members then only
            choose and calibrate. 0 = the mean of the members scores.
        control: whether it is LBSF from scratch with something changed.
    """

    about: str
    outputs: Outputs
    combine: str = "best"
    refits: int = 0
    control: bool = False


def boosted(rows: Floats, y: Floats, others: Floats, seed: int) -> Floats:
    """(O, grid) what gradient boosting fitted on rows says of others, for every setting.

    Raises:
        LbsfError: LightGBM is not installed.
    """
    try:
        from lightgbm import LGBMClassifier
    except ImportError as error:
        raise LbsfError(
            "this contestant needs LightGBM: install it with `pip install 'lbsf[compare]'`."
        ) from error

    columns = []
    for grid in TREES:
        model = LGBMClassifier(**_ALL_TREES, **grid, random_state=seed)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            model.fit(rows, y)
            columns.append(np.asarray(model.predict(others, raw_score=True)))
    return np.stack(columns, axis=1)


def _boosted(task: Task, table: Floats) -> Floats:
    return boosted(table[task.rows], task.y, table[task.score], task.seed)


def _table(task: Task, *, merchants: bool) -> Floats:
    """(B, C) aggregates of all samples, common words from the rows to fit on."""
    key = f"aggregates {merchants} {task.seed}"
    if key not in task.shared:
        fitted = Aggregates.fit(task.data.batch.select(task.rows), merchants=merchants)
        task.shared[key] = fitted.table(task.data.batch).to_numpy()
    found: Floats = task.shared[key]
    return found


def lightgbm_user(task: Task) -> Floats:
    """Gradient boosting on user aggregates."""
    return _boosted(task, _table(task, merchants=False))


def lightgbm_merchant(task: Task) -> Floats:
    """Gradient boosting on user and merchant-level aggregates."""
    return _boosted(task, _table(task, merchants=True))


def scorecard(task: Task) -> Floats:
    """Penalised logistic regression on user aggregates, each brought to a normal scale."""
    table = _table(task, merchants=False)
    scale = make_pipeline(
        SimpleImputer(strategy="median", keep_empty_features=True),
        QuantileTransformer(
            n_quantiles=min(100, len(task.rows)), output_distribution="normal", random_state=0
        ),
        StandardScaler(),
    )
    fitted = scale.fit_transform(table[task.rows])
    others = scale.transform(table[task.score])
    return np.stack(
        [
            LogisticRegression(C=c, max_iter=2000).fit(fitted, task.y).decision_function(others)
            for c in PENALTIES
        ],
        axis=1,
    )


def lowest_balance(task: Task) -> Floats:
    """The lowest balance after any payment (signed log), nothing fitted: the lower, the riskier."""
    batch = task.data.batch
    lowest = np.full(len(batch), np.inf)
    np.fmin.at(lowest, batch.sample_of_payment, batch.numbers["balance"])
    known = np.isfinite(lowest)
    middle = float(np.median(lowest[known])) if known.any() else 0.0
    return -signed_log(np.where(known, lowest, middle))[task.score, None]


def _neural(
    build: Build,
    control: Control | None = None,
    *,
    flat: bool = False,
    **changes: Any,  # noqa: ANN401 - settings of ModelConfig
) -> Outputs:
    """A network trained from scratch, once for each entry of the grid.

    `changes` are made to the model's settings, last; `control` to the data.
    """

    def outputs(task: Task) -> Floats:
        data, setting = task.data, task.data.setting
        batch = replace(data.batch, labels=data.labels[task.label])
        if control:
            batch = control(batch)
        epochs = setting.flat_epochs if flat else setting.train.epochs
        columns = []
        for entry in setting.flat_grid if flat else setting.grid:
            config = replace(setting.model, **(entry | changes))
            fitted = fit(
                batch,
                data.extra,
                task.rows,
                task.rows[:1],  # nothing is chosen on it: the last weights are kept
                config=replace(setting.train, seed=task.seed, epochs=epochs),
                build=partial(build, config, data.extra, setting),
            )
            columns.append(batch_logits(fitted.model, passes(batch, task.score)))
        return np.stack(columns, axis=1)

    return outputs


def _lbsf(
    config: ModelConfig, extra: tuple[Field, ...], _: Setting, part: FoldedBatch
) -> torch.nn.Module:
    return LBSF.fit(config, extra, part)


def _decoupled(
    config: ModelConfig, extra: tuple[Field, ...], _: Setting, part: FoldedBatch
) -> torch.nn.Module:
    return DecoupledLBSF.fit(config, extra, part)


def _gru(
    config: ModelConfig, extra: tuple[Field, ...], setting: Setting, part: FoldedBatch
) -> torch.nn.Module:
    encoder = LBSF.fit(replace(config, user_gap=True), extra, part)
    return FlatPeer(encoder, GRUBody(config.width, config.width), setting.newest)


def _transformer(
    config: ModelConfig, extra: tuple[Field, ...], setting: Setting, part: FoldedBatch
) -> torch.nn.Module:
    encoder = LBSF.fit(replace(config, user_gap=True), extra, part)
    body = TransformerBody(config.width, config.heads, 2)
    return FlatPeer(encoder, body, setting.newest)


def lbsf_pretrained(task: Task) -> Floats:
    """Forecasts of an LBSF pre-trained on payments of other users; the label is not used here."""
    data = task.data
    assert data.histories is not None  # noqa: S101 - `can_run` leaves this contestant out
    key = f"forecasts {task.seed}"
    if key not in task.shared:
        rows = data.histories.rows(task.unseen, task.until)
        config = replace(data.setting.pretrain, seed=task.seed)
        model = pretrain(data.histories, rows, data.setting.pretrain_model, config)
        task.shared[key] = forecasts(model, data.batch)
    found: Floats = task.shared[key][task.score]
    return found


def coles(task: Task) -> Floats:
    """Contrastive embeddings of slices, then gradient boosting on them."""
    data = task.data
    assert data.histories is not None  # noqa: S101 - `can_run` leaves this contestant out
    key = f"coles {task.seed}"
    if key not in task.shared:
        batch = data.histories.batch
        rows = data.histories.rows(task.unseen, task.until)
        torch.manual_seed(task.seed)
        rng = np.random.default_rng(task.seed)
        part = batch.select(rng.permutation(rows)[:2000])
        config = replace(data.setting.model, user_gap=True)
        model = SliceEncoder(LBSF.fit(config, data.extra, part), 64)
        users = np.array(batch.user_ids, dtype=object)

        def draw(epoch: int) -> Ints:
            """One sample of every user, in a new order."""
            order = np.random.default_rng([task.seed, epoch]).permutation(rows)
            return order[np.unique(users[order], return_index=True)[1]][
                np.random.default_rng([task.seed, epoch, 1]).permutation(len(set(users[rows])))
            ]

        def loss(part: Ints) -> torch.Tensor:
            slices = draw_slices(batch, part, 4, rng)
            return model.loss(slices, torch.arange(len(part)).repeat_interleave(4))

        run_epochs(
            model, TrainConfig(epochs=data.setting.slice_epochs, batch_samples=64), draw, loss
        )
        task.shared[key] = _embed(model, data.batch)
    return _boosted(task, task.shared[key])


def _embed(model: SliceEncoder, batch: FoldedBatch) -> Floats:
    model.eval()
    with torch.inference_mode():
        parts = [model(part).double().numpy() for part in passes(batch, np.arange(len(batch)))]
    found: Floats = np.concatenate(parts)
    return found


CONTESTANTS: dict[str, Contestant] = {
    "lightgbm_user": Contestant("LightGBM on user aggregates", lightgbm_user),
    "lightgbm_merchant": Contestant(
        "LightGBM on user and merchant-level aggregates", lightgbm_merchant
    ),
    "lightgbm_refit": Contestant(
        "LightGBM on user and merchant-level aggregates, refitted on all training users",
        lightgbm_merchant,
        refits=3,
    ),
    "scorecard": Contestant("logistic scorecard on user aggregates", scorecard),
    "lowest_balance": Contestant("the lowest balance alone", lowest_balance),
    "gru": Contestant("flat GRU", _neural(_gru, flat=True)),
    "transformer": Contestant("flat Transformer", _neural(_transformer, flat=True)),
    "coles": Contestant("CoLES-style embeddings + LightGBM", coles),
    "lbsf_alone": Contestant("LBSF from scratch", _neural(_lbsf)),
    "lbsf_pretrained": Contestant(
        "LBSF pre-trained on what comes next", lbsf_pretrained, "logistic", refits=1
    ),
    "lbsf_boosted": Contestant(
        "LightGBM on aggregates and on what pre-trained LBSF says comes next",
        lbsf_pretrained,
        "boosted",
        refits=1,
    ),
    "no_relations": Contestant(
        "LBSF without relations", _neural(_lbsf, relation_layers=0), control=True
    ),
    "meetings": Contestant(
        "LBSF whose merchants hear from those they meet",
        _neural(_lbsf, meetings=True),
        control=True,
    ),
    "mean_pooling": Contestant(
        "LBSF with means for attention", _neural(_lbsf, attention="mean"), control=True
    ),
    "no_rhythm": Contestant("LBSF without rhythm", _neural(_lbsf, rhythm=False), control=True),
    "no_levels": Contestant(
        "LBSF without levels of amounts and numbers", _neural(_lbsf, levels="none"), control=True
    ),
    "decoupled": Contestant(
        "LBSF, attention on embeddings of its own (DARE)", _neural(_decoupled), control=True
    ),
    **{
        name: Contestant(f"LBSF, {name.replace('_', ' ')}", _neural(_lbsf, control), control=True)
        for name, control in CONTROLS.items()
    },
}


@dataclass(frozen=True)
class Blend:
    """The mean of the logits of some contestants, each brought to the same spread.

    Attributes:
        about: what it is, in words, for the report.
        options: which contestants; inner folds choose one of these by AUC.
    """

    about: str
    options: tuple[tuple[str, ...], ...]

    @property
    def parts(self) -> tuple[str, ...]:
        """Every contestant that it needs."""
        return tuple(dict.fromkeys(name for option in self.options for name in option))


BLENDS: dict[str, Blend] = {
    "lbsf_both": Blend(
        "LBSF from scratch, pre-trained, or their mean",
        (("lbsf_alone",), ("lbsf_pretrained",), ("lbsf_alone", "lbsf_pretrained")),
    ),
    "lbsf": Blend(
        "LBSF with aggregates: means of LBSF and LightGBM",
        (
            ("lbsf_alone", "lightgbm_merchant"),
            ("lbsf_pretrained", "lightgbm_merchant"),
            ("lbsf_alone", "lightgbm_merchant", "lightgbm_user"),
            ("lbsf_pretrained", "lightgbm_merchant", "lightgbm_user"),
            ("lbsf_pretrained", "lbsf_boosted", "lightgbm_merchant", "lightgbm_user"),
            ("lbsf_alone", "lbsf_boosted", "lightgbm_merchant", "lightgbm_user"),
        ),
    ),
    "lightgbm_both": Blend(
        "mean of the two LightGBMs: what averaging alone is worth",
        (("lightgbm_merchant", "lightgbm_user"),),
    ),
    "lightgbm_gru": Blend(
        "LightGBM, flat GRU, or their mean",
        (("lightgbm_merchant",), ("gru",), ("lightgbm_merchant", "gru")),
    ),
}


def can_run(name: str, data: Data) -> bool:
    """Whether a dataset has what a contestant needs: unlabelled histories, a balance."""
    if name in ("lbsf_pretrained", "lbsf_boosted", "coles"):
        return data.histories is not None
    return name != "lowest_balance" or "balance" in data.batch.numbers

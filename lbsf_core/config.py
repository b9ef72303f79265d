"""Settings as frozen dataclasses that read and write JSON. No other configuration system."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from typing import Any, Self

from lbsf_core.errors import LbsfError


@dataclass(frozen=True)
class Config:
    """Base of every settings class: JSON out, JSON in, unknown keys refused."""

    def to_dict(self) -> dict[str, Any]:
        """The settings as plain JSON values."""
        return asdict(self)

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Self:
        """Settings from plain JSON values.

        Raises:
            LbsfError: a key is unknown.
        """
        known = {entry.name for entry in fields(cls)}
        unknown = sorted(set(data) - known)
        if unknown:
            raise LbsfError(
                f"{cls.__name__}: unknown settings {unknown}; known are {sorted(known)}."
            )
        return cls(**data)


@dataclass(frozen=True)
class FoldConfig(Config):
    """How payments are folded.

    Attributes:
        window_days: length of the observation window `[cutoff - days, cutoff)`; None = all history.
        max_merchants: keep only the most recently paid merchants of a sample; None = all.
        max_payments: keep only the most recent payments of each segment; None = all.
    """

    window_days: int | None = None
    max_merchants: int | None = None
    max_payments: int | None = None

    def __post_init__(self) -> None:
        for entry in fields(self):
            value = getattr(self, entry.name)
            if value is not None and value < 1:
                raise LbsfError(f"{entry.name} is {value}; give a number of at least 1, or none.")


@dataclass(frozen=True)
class ModelConfig(Config):
    """Size of an LBSF model.

    Attributes:
        width: size of every payment, merchant and user vector.
        heads: attention heads in merchant aggregation and in relations.
        relation_layers: Transformer layers across a user's merchants.
        text_buckets: rows of the hashed n-gram table of each text field.
        text_width: width of an n-gram vector before it is projected to `width`.
        bins: knots of the piecewise-linear encoding of amounts and numbers.
        dropout: on payment, merchant and user vectors while training.
        text_dropout: share of whole text embeddings dropped while training.
        attention: "learned", or "mean" where every payment and merchant weighs the same.
        forecasts: outputs of pre-training (what comes next) that the score is a linear function of;
            0 = not pre-trained, the score comes from a head of its own.
        rhythm: whether a user's payments through time, over all merchants, are a part of the model.
        user_gap: whether a payment's time also says how long before it the user paid last, at any
            merchant. Then a merchant's vector depends on the others; off in LBSF, on in flat peers.
        meetings: whether a merchant hears from those that the user pays within two days of it.
            Worth it with thousands of labelled users; with some hundreds it only adds noise.
        levels: whose course through time, over all merchants, is a part of the model: "all" the
            amount and extra numbers (a balance), "extra" those alone, "none".
    """

    width: int = 64
    heads: int = 4
    relation_layers: int = 1
    text_buckets: int = 4096
    text_width: int = 32
    bins: int = 16
    dropout: float = 0.2
    text_dropout: float = 0.8
    attention: str = "learned"
    rhythm: bool = True
    user_gap: bool = False
    meetings: bool = False
    levels: str = "all"
    forecasts: int = 0

    def __post_init__(self) -> None:
        if self.width % self.heads:
            raise LbsfError(f"width {self.width} can't be divided among {self.heads} heads.")
        if self.attention not in ("learned", "mean"):
            raise LbsfError(f"attention is '{self.attention}'; choose 'learned' or 'mean'.")
        if self.levels not in ("all", "extra", "none"):
            raise LbsfError(f"levels is '{self.levels}'; choose 'all', 'extra' or 'none'.")


@dataclass(frozen=True)
class TrainConfig(Config):
    """How a model is trained.

    Attributes:
        epochs: at most this many passes over the training part.
        batch_samples: samples in one step.
        learning_rate: peak of AdamW's rate (linear warm-up, then cosine decay).
        weight_decay: AdamW weight decay, on matrices only.
        warmup: share of all steps spent warming up.
        patience: epochs without a better validation AUC before stopping.
        keep: "best" keeps the weights of the best validation AUC, "last" the last ones and trains
            for all epochs: better where the validation part holds few bad samples.
        positive_weight: how far class imbalance is evened out, 0 = not, 1 = fully
            (weight of a bad sample = (good / bad) ** positive_weight).
        clip: largest gradient norm.
        split_by: "user" (a user's samples stay together) or "time" (train on early cutoffs).
        validation: share of users (or of the latest training cutoffs) for early stopping
            and calibration.
        test: share of users (or the latest cutoffs) never touched by training.
        seed: of weights, order and split.
    """

    epochs: int = 30
    batch_samples: int = 64
    learning_rate: float = 2e-3
    weight_decay: float = 0.05
    warmup: float = 0.1
    patience: int = 5
    keep: str = "best"
    positive_weight: float = 0.5
    clip: float = 1.0
    split_by: str = "user"
    validation: float = 0.15
    test: float = 0.15
    seed: int = 0

    def __post_init__(self) -> None:
        if self.split_by not in ("user", "time"):
            raise LbsfError(f"split_by is '{self.split_by}'; choose 'user' or 'time'.")
        for name in ("epochs", "batch_samples", "patience"):
            if getattr(self, name) < 1:
                raise LbsfError(f"{name} is {getattr(self, name)}; give a number of at least 1.")
        if self.validation <= 0:
            raise LbsfError(
                f"validation is {self.validation}; early stopping and calibration need a share "
                "of the samples, e.g. 0.15."
            )
        if self.test < 0:
            raise LbsfError(f"test is {self.test}; give 0 or a share of the samples.")
        if self.validation + self.test >= 1:
            raise LbsfError(
                f"validation {self.validation} and test {self.test} leave nothing to train on; "
                "their sum must be below 1."
            )
        if not (0 < self.validation < 1 and 0 <= self.test < 1 - self.validation):
            raise LbsfError(
                f"validation {self.validation} and test {self.test} leave nothing to train on."
            )


@dataclass(frozen=True)
class PretrainConfig(Config):
    """How a model is trained on what comes next, without labels.

    Attributes:
        horizon_days: how far ahead is looked.
        every_days: days between the cutoffs of one user.
        least_payments: payments before a cutoff, at least.
        active_days: the last payment before a cutoff is at most this old.
        end: "file" where every user is observed until the file's last payment (silence means
            that nothing was paid), "user" where histories are cut off at each user's last payment.
        epochs: passes, each over `epoch_share` of the samples.
        epoch_share: share of the samples drawn anew for every epoch.
        batch_samples: samples in one step.
        learning_rate: peak of AdamW's rate.
        fit_samples: samples that knots and scales are fitted on, at most.
        seed: of weights and order.
    """

    horizon_days: int = 120
    every_days: int = 30
    least_payments: int = 10
    active_days: int = 60
    end: str = "file"
    epochs: int = 8
    epoch_share: float = 0.5
    batch_samples: int = 128
    learning_rate: float = 2e-3
    fit_samples: int = 4000
    seed: int = 0

    def __post_init__(self) -> None:
        if self.end not in ("file", "user"):
            raise LbsfError(f"end is '{self.end}'; choose 'file' or 'user'.")

"""Reason codes: at most four sentences for a score and four against it, each of them proved.

A sentence tells a fact that is counted from payments (`factors.py`) in the words of a catalogue
(`codes.py`). It is given only if the score proves it: without the payments that it cites, the rest
folded again, the logit must fall by `LEAST_EFFECT` or more; of a protective reason it must rise.
Sentences are chosen one after another, each by what it adds to those before, and none that mostly
cites payments which another has cited.

What the rule can't prove is not said. A salary that stopped is a reason only where the payments up
to the stop, rather than never having had any, make the score high.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from lbsf_core.errors import LbsfError
from lbsf_core.explain.candidates import Candidate, Party, candidates
from lbsf_core.explain.cited import Removals
from lbsf_core.explain.codes import Catalogue
from lbsf_core.explain.kinds import Kinds
from lbsf_core.explain.removal import refolds
from lbsf_core.fold.batch import FoldedBatch
from lbsf_core.model.bundle import Bundle
from lbsf_core.score.calibration import Calibration
from lbsf_core.score.scorer import base_rate

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

#: Reasons of one side: US practice under Regulation B, where more than four help nobody.
MOST = 4
#: By which sign of an effect a reason counts: for the risk, and against it.
SIDES = (1.0, -1.0)
#: Logits that a removal must move the score by: 5 % of the odds. Less would change no decision;
#: what single precision loses (1e-5) is far below.
LEAST_EFFECT = 0.05
#: Of the effect of the first reason, the least that a further one must have: a principal reason.
LEAST_SHARE = 0.2
#: Of the smaller of two reasons, the largest share of payments that both may cite.
MOST_SHARED = 0.5
#: A narrower fact (fewer of the same payments) is preferred if it has this share of the effect.
NARROW = 0.8
#: How far a PD may be below the threshold for the facts to be looked for: a pass with them and one
#: without give it with other last digits.
CLOSE = 1e-5
#: Candidates of a side that are tried together with those chosen before: those of most effect.
TRIED = 24


@dataclass(frozen=True)
class Reason:
    """One proved sentence.

    Attributes:
        code: its id in the catalogue.
        text: the sentence, in the language asked for.
        kind: of the merchants; "" where they are of none, or of every kind.
        merchants: who was paid.
        direction: as its factor has it: "rose", "fell", "stopped", ...
        figures: name -> value: payments a month, days, money in the major unit, counts.
        payments: rows of the batch that it cites.
        effect: logits that the score falls by when they are removed; below 0 it rises.
        added: logits that it falls by when they are removed after those of the reasons before.
        pd_without: PD when they are removed.
    """

    code: str
    text: str
    kind: str
    merchants: tuple[str, ...]
    direction: str
    figures: dict[str, float]
    payments: tuple[int, ...]
    effect: float
    added: float
    pd_without: float


@dataclass(frozen=True)
class Reasons:
    """The reasons of one sample.

    Attributes:
        user, cutoff: which; the cutoff in ISO format, UTC.
        logit, pd: its score.
        threshold: PD from which reasons are given without being asked for.
        given: whether they are: the score is as high as that, or they were asked for.
        risk, protective: at most four each, in the order they were chosen.
        tested: facts whose payments were removed to see whether the score moves.
        language: of the sentences.
    """

    user: str
    cutoff: str
    logit: float
    pd: float
    threshold: float
    given: bool
    risk: tuple[Reason, ...]
    protective: tuple[Reason, ...]
    tested: int
    language: str

    def to_dict(self) -> dict[str, Any]:
        """As JSON values."""
        return asdict(self)


def reasons(
    bundle: Bundle,
    batch: FoldedBatch,
    *,
    threshold: float | None = None,
    always: bool = False,
    language: str = "en",
    catalogue: Catalogue | None = None,
    kinds: Kinds | None = None,
) -> Reasons:
    """Why one sample's score is high, and what speaks against it, in at most four sentences each.

    Args:
        bundle: the model and its calibration.
        batch: one sample.
        threshold: PD from which a score is high; by default the share of bad samples that the
            bundle was calibrated on, so that high means riskier than the average.
        always: give reasons for a low score as well.
        language: of the sentences, one of the catalogue.
        catalogue: of codes and languages; None = the one that ships.
        kinds: of merchants; None = those that ship.

    Raises:
        LbsfError: the batch holds more or fewer samples than one, the catalogue does not speak
            the language, the threshold is no PD or not known, or the model can't do without a
            merchant (`ModelConfig.user_gap`).
    """
    catalogue, kinds = catalogue or Catalogue.load(), kinds or Kinds.load()
    catalogue.language(language)
    if threshold is not None and not 0 <= threshold <= 1:
        raise LbsfError(f"a threshold of {threshold} is no PD; give a number from 0 to 1.")
    limit = base_rate(bundle) if threshold is None else threshold
    calibration = Calibration(**bundle.calibration)
    removals = Removals(bundle.model, batch)
    nothing = np.zeros(0, dtype=np.int64)
    found: list[Candidate] = []
    if always or calibration.pd(removals.logits([nothing])[0]) >= limit - CLOSE:
        found = candidates(batch, catalogue, kinds)
    logits = removals.logits([nothing, *(one.rows for one in found)])
    whole = float(logits[0])
    pd = float(calibration.pd(whole))
    given = always or pd >= limit
    if not given:
        found, logits = [], logits[:1]
    lone = whole - logits[1:]
    words = _Words(batch, catalogue, kinds, language)
    sides = _answered(removals, [choose(found, whole, lone, sign) for sign in SIDES])
    # The proof that counts is a full refold; what it does not bear out is not said.
    rest = _without(bundle, batch, [found[at].rows for side in sides for at, _ in side])
    ends = np.cumsum([len(side) for side in sides])[:-1]
    told = [
        tuple(
            words.reason(found[at], whole - left, added, float(calibration.pd(left)))
            for (at, added), left in zip(side, without.tolist(), strict=True)
            if sign * (whole - left) >= LEAST_EFFECT
        )
        for sign, side, without in zip(SIDES, sides, np.split(rest, ends), strict=True)
    ]
    return Reasons(
        user=batch.user_ids[0],
        cutoff=f"{np.datetime64(int(batch.cutoffs[0]), 'us').astype('datetime64[s]')}Z",
        logit=whole,
        pd=pd,
        threshold=limit,
        given=given,
        risk=told[0],
        protective=told[1],
        tested=len(found),
        language=language,
    )


def choose(
    found: Sequence[Candidate], whole: float, lone: Floats, sign: float
) -> Generator[list[Ints], Floats, list[tuple[int, float]]]:
    """The candidates to tell of one side, one after another, each by what it adds.

    It hands out sets of payments and is sent the logits without each of them, see `_answered`.

    Args:
        found: the candidates.
        whole: logit of the whole history.
        lone: (C,) logits that the score falls by without the payments of each candidate alone.
        sign: 1 for risk, -1 for protective reasons.

    Returns:
        (number of the candidate, logits that the score falls by without its payments too), at
        most `MOST`.
    """
    other = "protective" if sign > 0 else "risk"
    passing = [
        at
        for at in np.argsort(-sign * lone, kind="stable")
        if sign * lone[at] >= LEAST_EFFECT and found[at].code.side != other
    ]
    alone = [at for at in passing if found[at].code.alone]
    rest = [at for at in passing if not found[at].code.alone][:TRIED] or alone
    chosen: list[tuple[int, float]] = []
    gone = np.zeros(0, dtype=np.int64)
    level, least = whole, LEAST_EFFECT
    added = sign * lone[rest]
    while rest:
        # What it does by itself and after the others: a history that has lost much answers wildly.
        worth = np.minimum(sign * lone[rest], added)
        best = int(np.argmax(worth))
        if worth[best] < least:
            break
        best = _narrowest([found[at] for at in rest], worth, best)
        taken = found[rest[best]].rows
        chosen.append((int(rest[best]), float(sign * added[best])))
        least = max(least, LEAST_SHARE * float(sign * lone[chosen[0][0]]))
        level -= sign * float(added[best])
        gone = np.union1d(gone, taken)
        rest = [at for at in rest if not _shared(found[at].rows, taken)]
        if not rest or len(chosen) == MOST:  # nothing is left to ask
            break
        without = yield [np.union1d(gone, found[at].rows) for at in rest]
        added = sign * (level - without)
    return chosen


def _answered(
    removals: Removals, sides: Sequence[Generator[list[Ints], Floats, list[tuple[int, float]]]]
) -> list[list[tuple[int, float]]]:
    """What each side comes to; what all of them ask at a time is answered in one pass."""
    said: list[list[tuple[int, float]]] = [[] for _ in sides]
    answers: dict[int, Floats | None] = dict.fromkeys(range(len(sides)))
    while True:
        asked: dict[int, list[Ints]] = {}
        for at, answer in answers.items():
            try:
                asked[at] = next(sides[at]) if answer is None else sides[at].send(answer)
            except StopIteration as end:
                said[at] = end.value
        if not asked:
            return said
        ends = np.cumsum([len(sets) for sets in asked.values()])[:-1]
        logits = removals.logits([rows for sets in asked.values() for rows in sets])
        answers = dict(zip(asked, np.split(logits, ends), strict=True))


def _narrowest(found: Sequence[Candidate], worth: Floats, best: int) -> int:
    """The one that says it of the fewest of the same payments, and is worth nearly as much."""
    if found[best].then is not None:
        return best  # two that belong together stay together
    inside = [
        at
        for at in np.flatnonzero(worth >= NARROW * worth[best]).tolist()
        if len(found[at].rows) < len(found[best].rows)
        and np.isin(found[at].rows, found[best].rows).all()
    ]
    return min(inside, key=lambda at: len(found[at].rows), default=best)


def _shared(one: Ints, other: Ints) -> bool:
    """Whether two reasons cite too many of the same payments to be two."""
    both = len(np.intersect1d(one, other, assume_unique=True))
    return both > MOST_SHARED * min(len(one), len(other))


def _without(bundle: Bundle, batch: FoldedBatch, cited: Sequence[Ints]) -> Floats:
    """(C,) logits without each of C sets of payments, everything else folded from the start."""
    masks = np.ones((len(cited), len(batch.amounts)), dtype=bool)
    for mask, rows in zip(masks, cited, strict=True):
        mask[rows] = False
    return refolds(bundle.model, batch)(masks)


@dataclass(frozen=True)
class _Words:
    """How candidates of one sample are told."""

    batch: FoldedBatch
    catalogue: Catalogue
    kinds: Kinds
    language: str

    def reason(self, told: Candidate, effect: float, added: float, pd_without: float) -> Reason:
        who = self._who(told, told.party)
        then = "" if told.then is None else self._who(told, told.then)
        merchants = self._merchants(told.party)
        if told.then is not None:
            merchants += self._merchants(told.then)
        return Reason(
            code=told.code.name,
            text=self.catalogue.sentence(told.code, told.figures, who, then, self.language),
            kind=told.party.kind or "",
            merchants=merchants,
            direction=told.code.counted.direction,
            figures=told.figures,
            payments=tuple(told.rows.tolist()),
            effect=effect,
            added=added,
            pd_without=pd_without,
        )

    def _who(self, told: Candidate, party: Party) -> str:
        names = self._merchants(party)
        return self.catalogue.who(told.code, party.kind, names, self.kinds, self.language)

    def _merchants(self, party: Party) -> tuple[str, ...]:
        merchants = self.batch.merchants
        return tuple(merchants.words[merchants.codes[at]] for at in party.segments)

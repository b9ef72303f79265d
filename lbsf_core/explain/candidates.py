"""Every fact of a catalogue that holds for one sample, whether it matters to the score or not."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from lbsf_core.explain.codes import Catalogue, Code
from lbsf_core.explain.factors import Group
from lbsf_core.explain.kinds import OTHER, Kinds, merchant_kinds
from lbsf_core.fold.batch import DAY, FoldedBatch, expand

Ints = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Party:
    """Some merchants of a sample.

    Attributes:
        kind: of all of them; None = of none, or of several.
        segments: their numbers.
    """

    kind: str | None
    segments: Ints


@dataclass(frozen=True)
class Candidate:
    """A fact that could be told.

    Attributes:
        code: how it is told.
        party: whose payments.
        figures: by name.
        rows: payments that it cites, in order.
        then: who follows, where the code says that somebody does.
    """

    code: Code
    party: Party
    figures: dict[str, float]
    rows: Ints
    then: Party | None = None


def candidates(batch: FoldedBatch, catalogue: Catalogue, kinds: Kinds) -> list[Candidate]:
    """The facts of one sample, in the order of the catalogue.

    Of facts that cite the same payments only the first is kept: no removal could tell them apart.
    """
    if not len(batch.amounts):
        return []
    sample = _Sample(batch, kinds)
    found: dict[bytes, Candidate] = {}
    for code in catalogue.codes:
        for party, then in sample.asked(code):
            fact = code.counted.find(sample.group(party, then), code.options)
            if fact is not None:
                rows = np.sort(fact.rows)
                told = sample.candidate(code, party, then, fact.figures, rows)
                found.setdefault(rows.tobytes(), told)
    return list(found.values())


class _Sample:
    """One sample's payments by kind and merchant."""

    def __init__(self, batch: FoldedBatch, kinds: Kinds) -> None:
        self.batch, self.segment = batch, batch.segment_of_payment
        self.ages = (int(batch.cutoffs[0]) - batch.timestamps) / DAY
        self.span = float(self.ages.max())
        named = np.array(merchant_kinds(batch, kinds), dtype=object)
        of_kinds = {kind: np.flatnonzero(named == kind) for kind in dict.fromkeys(named)}
        self._everybody = Party(None, np.arange(len(batch.merchants)))
        self._kinds = {
            kind: Party(None if kind == OTHER else kind, segments)
            for kind, segments in of_kinds.items()
        }
        self._single = {
            kind: [Party(party.kind, party.segments[at : at + 1]) for at in range(len(segments))]
            for (kind, party), segments in zip(self._kinds.items(), of_kinds.values(), strict=True)
        }
        self._groups: dict[tuple[int, int], Group] = {}

    def asked(self, code: Code) -> Iterator[tuple[Party, Party | None]]:
        """Whom a code is asked of, and who may follow; the same parties every time."""
        if code.of != "kind":
            yield self._everybody, None
            return
        for kind, party in self._kinds.items():
            if code.kinds and kind not in code.kinds:
                continue
            if code.then:
                for then in code.then:
                    if then in self._kinds:
                        yield party, self._kinds[then]
                continue
            if party.kind and len(party.segments) > 1:
                yield party, None
            for one in self._single[kind]:
                yield one, None

    def candidate(
        self, code: Code, party: Party, then: Party | None, figures: dict[str, float], rows: Ints
    ) -> Candidate:
        """A fact as it is told: of two parties that meet, only those who met."""
        if then is None:
            return Candidate(code, party, figures, rows)
        met = np.unique(self.segment[rows])
        one, other = (Party(p.kind, np.intersect1d(p.segments, met)) for p in (party, then))
        return Candidate(code, one, figures, rows, other)

    def group(self, party: Party, then: Party | None) -> Group:
        """The payments of a party, and of who may follow."""
        name = (id(party), id(then))  # of `asked`, and kept with this sample
        if name not in self._groups:
            rows = self._rows(party)
            if len(party.segments) > 1:  # one merchant's lie in order of time
                rows = rows[np.argsort(-self.ages[rows], kind="stable")]
            after = None if then is None else self._rows(then)
            self._groups[name] = Group(
                rows=rows,
                ages=self.ages[rows],
                amounts=self.batch.amounts[rows],
                span=self.span,
                numbers={name: values[rows] for name, values in self.batch.numbers.items()},
                then=None if after is None else (after, self.ages[after]),
            )
        return self._groups[name]

    def _rows(self, party: Party) -> Ints:
        offsets = self.batch.offsets
        if len(party.segments) == 1:
            at = int(party.segments[0])
            return np.arange(offsets[at], offsets[at + 1])
        return expand(offsets[party.segments], np.diff(offsets)[party.segments])

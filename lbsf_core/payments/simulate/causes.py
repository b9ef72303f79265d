"""Why a simulated user defaults: planted causes, the harmless habits beside them, and the label.

    logit = BASE_LOGIT + effect of the user's cause (0 for most users)
    label ~ Bernoulli(sigmoid(logit))

A user has at most one cause, so that "which merchant made this score high?" has one true answer.
Every kind of merchant that a cause uses also appears, harmless, in users without that cause:
steady gambling at a high level, gambling long given up, an employer exchanged for another, a
pawnbroker alone, trading alone, both of them but in different seasons. What is risky is the
change, and for the pair only the two together.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from lbsf_core.payments.simulate.kinds import NUMBER
from lbsf_core.payments.simulate.world import World

BASE_LOGIT = -3.75
EFFECT_LOW, EFFECT_HIGH = 3.8, 5.2
DAYS_A_MONTH = 365.25 / 12
PAIR_GAP_DAYS = 2
"""Trading follows the pawnbroker within this many days."""
PAIR = ("pawnbroker", "leveraged trading")


@dataclass(frozen=True)
class Rise:
    """A single-merchant cause: payments a month go from `before` to `after` (ranges)."""

    kind: str
    share: float
    before: tuple[float, float]
    after: tuple[float, float]


RISES = (
    Rise("gambling", 0.045, (0.3, 2.0), (6.0, 11.0)),
    Rise("cash advance", 0.04, (0.0, 1.2), (4.5, 8.0)),
    Rise("buy now pay later", 0.04, (0.0, 1.6), (5.5, 9.0)),
)
SALARY_STOPS_SHARE = 0.03
PAIR_SHARE = 0.06


def sigmoid(logit: float) -> float:
    """The probability of a logit."""
    return float(1.0 / (1.0 + np.exp(-logit)))


def effect(dose: float) -> float:
    """The effect of a cause in logit units; `dose` in [0, 1] is how strong it came."""
    return EFFECT_LOW + (EFFECT_HIGH - EFFECT_LOW) * dose


@cache
def expected_rate() -> float:
    """The share of bad labels that the latent process gives in the long run; `null` uses it too."""
    share = sum(rise.share for rise in RISES) + SALARY_STOPS_SHARE + PAIR_SHARE
    doses = ((np.arange(1000) + 0.5) / 1000).tolist()
    with_cause = float(np.mean([sigmoid(BASE_LOGIT + effect(dose)) for dose in doses]))
    return share * with_cause + (1.0 - share) * sigmoid(BASE_LOGIT)


@dataclass(frozen=True)
class Habit:
    """`count` payments at a merchant, spread over the local days `[first, end)`."""

    merchant: int
    first: int
    end: int
    count: int


@dataclass(frozen=True)
class Span:
    """A user's time, in local days since 1970: history, cutoff, and the label window after it."""

    first: int
    cutoff: int
    end: int


@dataclass(frozen=True)
class Cause:
    """What was planted in one user.

    Attributes:
        name: "gambling rises", "salary stops", "pawnbroker then leveraged trading", ...
        merchant, merchant_2: numbers in the world; the second only for the pair.
        start: local day from which the change holds.
        effect: logit units.
    """

    name: str
    merchant: int
    merchant_2: int | None
    start: int
    effect: float


@dataclass(frozen=True)
class Plan:
    """The risky kinds of merchant in one user's life, harmless or not.

    Attributes:
        habits: what is paid there and when.
        meetings: (n, 2) local days of pawnbroker and of the trading that follows it; the
            merchants stand in `pair`.
        pair: merchants of `meetings`; None where there are none.
        employers: (merchant, first day, end day) of each salary.
        cause: what was planted, if anything.
        label: 1 = default, drawn from the latent process.
    """

    habits: tuple[Habit, ...]
    meetings: NDArray[np.int64]
    pair: tuple[int, int] | None
    employers: tuple[tuple[int, int, int], ...]
    cause: Cause | None
    label: int


class _Planner:
    """Draws one user's plan; holds what every draw needs."""

    def __init__(self, rng: np.random.Generator, world: World, span: Span) -> None:
        self.rng, self.world, self.span = rng, world, span
        self.habits: list[Habit] = []
        self.meetings = np.empty((0, 2), dtype=np.int64)
        self.pair: tuple[int, int] | None = None
        self.cause: Cause | None = None

    def uniform(self, low: float, high: float) -> float:
        return low + (high - low) * float(self.rng.random())

    def merchant(self, kind: str) -> int:
        merchants = self.world.by_kind[NUMBER[kind]]
        return int(merchants[self.rng.integers(len(merchants))])

    def steady(self, merchant: int, a_month: float, first: int, end: int) -> None:
        """A habit that neither rises nor falls between two days."""
        first, end = max(first, self.span.first), min(end, self.span.end)
        if end > first:
            count = int(self.rng.poisson(a_month * (end - first) / DAYS_A_MONTH))
            self.habits.append(Habit(merchant, first, end, count))

    def rise(self, rise: Rise) -> None:
        span, merchant = self.span, self.merchant(rise.kind)
        start = span.cutoff - int(self.rng.integers(45, 121))
        dose = float(self.rng.random())
        after = rise.after[0] + (rise.after[1] - rise.after[0]) * dose
        self.steady(merchant, self.uniform(*rise.before), span.first, start)
        # Not a Poisson draw: the words of a cause must hold in every single user.
        count = round(after * (span.cutoff - start) / DAYS_A_MONTH)
        self.habits.append(Habit(merchant, start, span.cutoff, count))
        self.steady(merchant, after, span.cutoff, span.end)
        self.cause = Cause(f"{rise.kind} rises", merchant, None, start, effect(dose))

    def harmless(self, rise: Rise) -> None:
        """The same kind of merchant in a user whom it does no harm."""
        span, draw = self.span, float(self.rng.random())
        if draw < 0.28:
            self.steady(self.merchant(rise.kind), self.uniform(0.4, 2.0), span.first, span.end)
        elif draw < 0.34:
            rate = self.uniform(*rise.after)
            self.steady(self.merchant(rise.kind), rate, span.first, span.end)
        elif draw < 0.38:
            rate, given_up = (
                self.uniform(*rise.after),
                span.cutoff - int(self.rng.integers(150, 240)),
            )
            self.steady(self.merchant(rise.kind), rate, span.first, given_up)

    def together(self) -> None:
        """Plant the pair: pawned today, traded away within days, again and again."""
        span, rng = self.span, self.rng
        start = span.cutoff - int(rng.integers(40, 91))
        dose = float(rng.random())
        every = 9.0 - 4.0 * dose
        days = start + np.arange(0.0, span.end - start - 3, every)
        pawned = (days + rng.random(len(days)) * 2).astype(np.int64)
        traded = pawned + rng.integers(0, PAIR_GAP_DAYS + 1, len(days))
        self.meetings = np.stack([pawned, traded], axis=1)
        self.pair = (self.merchant(PAIR[0]), self.merchant(PAIR[1]))
        self.cause = Cause(f"{PAIR[0]} then {PAIR[1]}", *self.pair, start, effect(dose))

    def apart(self) -> None:
        """One of the pair alone, or both in different seasons: harmless."""
        span, draw = self.span, float(self.rng.random())
        recent, rate = span.cutoff - int(self.rng.integers(40, 120)), self.uniform(3.0, 6.0)
        long_ago = span.cutoff - int(self.rng.integers(150, 210))
        first, second = self.merchant(PAIR[0]), self.merchant(PAIR[1])
        if draw < 0.10:
            self.steady(first, rate, recent, span.end)
        elif draw < 0.20:
            self.steady(second, rate, recent, span.end)
        elif draw < 0.26:
            self.steady(first if draw < 0.22 else second, rate / 2, span.first, span.end)
        elif draw < 0.29:
            self.steady(first, rate, long_ago - 120, long_ago)
            self.steady(second, rate, recent, span.end)
        elif draw < 0.32:
            self.steady(second, rate, long_ago - 120, long_ago)
            self.steady(first, rate, recent, span.end)

    def employers(self, *, stops: bool) -> tuple[tuple[int, int, int], ...]:
        span, draw, rng = self.span, float(self.rng.random()), self.rng
        merchant, other = self.merchant("salary"), self.merchant("salary")
        if stops:
            last_until = span.cutoff - int(rng.integers(70, 151))
            dose = (span.cutoff - last_until - 70) / 81
            self.cause = Cause("salary stops", merchant, None, last_until, effect(dose))
            return ((merchant, span.first, last_until),)
        if draw < 0.12:
            return ()
        if draw < 0.22 and other != merchant:
            change = span.cutoff - int(rng.integers(60, 240))
            return ((merchant, span.first, change), (other, change, span.end))
        return ((merchant, span.first, span.end),)


def plan(rng: np.random.Generator, world: World, span: Span) -> Plan:
    """Draw one user's risky habits, cause and label."""
    planner = _Planner(rng, world, span)
    draw, label_draw = float(rng.random()), float(rng.random())
    for rise in RISES:
        if 0 <= draw < rise.share:
            planner.rise(rise)
        else:
            planner.harmless(rise)
        draw -= rise.share
    if 0 <= draw < PAIR_SHARE:
        planner.together()
    else:
        planner.apart()
    draw -= PAIR_SHARE
    employers = planner.employers(stops=0 <= draw < SALARY_STOPS_SHARE)
    logit = BASE_LOGIT + (planner.cause.effect if planner.cause else 0.0)
    label = int(label_draw < sigmoid(logit))
    if label:
        # The trace that a default leaves afterwards: a model that sees it has been let past the
        # cutoff, and its AUC will say so.
        first = span.cutoff + 1
        count = int(rng.integers(2, 6))
        planner.habits.append(Habit(planner.merchant("debt collection"), first, span.end, count))
    return Plan(
        tuple(planner.habits),
        planner.meetings,
        planner.pair,
        employers,
        planner.cause,
        label,
    )

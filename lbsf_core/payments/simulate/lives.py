"""One simulated user's payments: contracts, loyal shopping, risky habits, refunds."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lbsf_core.payments.simulate.causes import DAYS_A_MONTH, Habit, Plan, Span, plan
from lbsf_core.payments.simulate.kinds import NUMBER, PRICE, REFUNDS, RHYTHM
from lbsf_core.payments.simulate.rhythm import (
    MINUTES_A_DAY,
    Ints,
    contract_pence,
    free_days,
    free_pence,
    minutes,
    monthly_days,
)
from lbsf_core.payments.simulate.world import REFUND, World

FIRST_CUTOFF = int(np.datetime64("2024-07-01").astype("datetime64[D]").astype(np.int64))
CUTOFF_DAYS = 365
"""Cutoffs fall on these many days from the first, evenly, so that a split by time works."""
LABEL_WINDOW_DAYS = 30
MEDIAN_PAYMENTS, PAYMENTS_SIGMA = 600, 0.8
PAYMENTS_MIN, PAYMENTS_MAX = 90, 9000
MERCHANTS_MIN, MERCHANTS_MAX = 27, 145
"""Bounds of what is planned; a rare cause adds two, a rare coincidence takes one or two away."""


@dataclass(frozen=True)
class Life:
    """One user's payments, unsorted, and what is known about the user.

    Attributes:
        merchant: (payments,) numbers in the world.
        minute: (payments,) local wall-clock minutes since 1970.
        pence: (payments,) signed.
        variant: (payments,) how the statement words it (see `world`).
        town: number of the home town.
        span: history, cutoff, label window.
        plan: what was planted, and the label.
    """

    merchant: Ints
    minute: Ints
    pence: Ints
    variant: Ints
    town: int
    span: Span
    plan: Plan


@dataclass(frozen=True)
class _Payments:
    """Payments before they have an hour and a wording; all (n,)."""

    merchant: Ints
    day: Ints
    pence: Ints


class _Wallet:
    """Draws one user's payments; holds what every draw needs."""

    def __init__(
        self, rng: np.random.Generator, world: World, span: Span, target: int, plan: Plan
    ) -> None:
        self.rng, self.world, self.span, self.target, self.plan = rng, world, span, target, plan
        self.town = int(rng.integers(len(world.pools)))
        self.wealth = float(np.exp(0.3 * rng.standard_normal()))

    def contracts(self) -> _Payments:
        """Salary, rent, utilities, insurance and subscriptions, each once a month."""
        rng, span = self.rng, self.span
        rows = list(self.plan.employers)
        wanted = ["rent"] * int(rng.random() < 0.75)
        wanted += ["utilities"] * int(rng.integers(1, 5)) + ["insurance"] * int(rng.integers(0, 3))
        wanted += ["subscription"] * int(rng.integers(0, 6))
        a_month = self.target / ((span.cutoff - span.first) / DAYS_A_MONTH)
        # Who pays little from this account has few contracts on it.
        for kind in wanted[: max(0, int(0.55 * a_month) - 1)]:
            first, end = span.first, span.end
            if kind == "subscription" and rng.random() < 0.4:
                cut = int(rng.integers(span.first, span.end))
                first, end = (cut, end) if rng.random() < 0.6 else (first, cut)
            merchants = self.world.by_kind[NUMBER[kind]]
            merchant = int(merchants[rng.integers(len(merchants))])
            if merchant not in [row[0] for row in rows]:
                rows.append((merchant, first, end))
        table = np.array(rows, dtype=np.int64).reshape(-1, 3)
        kinds = self.world.kinds[table[:, 0]]
        which, day = monthly_days(rng, span, table[:, 1], table[:, 2])
        years = (day - span.first) // 365
        pence = contract_pence(rng, kinds, PRICE[kinds] * self.wealth, which, years)
        return _Payments(table[which, 0], day, pence)

    def favourites(self, merchants: int, payments: int) -> Ints:
        """The merchants that the user chooses, loyal by Zipf.

        Returns:
            (merchants, 4): merchant, first day, end day, count of payments.
        """
        rng, world, span = self.rng, self.world, self.span
        pool, pull = world.pools[self.town], world.pulls[self.town]
        people = world.people[rng.integers(0, len(world.people), 1 + merchants // 16)]
        elsewhere = world.pools[int(rng.integers(len(world.pools)))]
        away = elsewhere[rng.integers(0, len(elsewhere), 1 + merchants // 12)]
        count = min(merchants - len(people) - len(away), len(pool))
        # Exponential keys over weights: a weighted draw without replacement in one pass.
        keys = rng.exponential(size=len(pool)) / pull
        chosen = pool[np.argpartition(keys, count - 1)[:count]]
        chosen = np.unique(np.concatenate([chosen, people, away]))
        loyalty = rng.permutation(1.0 / np.arange(1, len(chosen) + 1) ** 1.1)
        loyalty *= np.where(world.kinds[chosen] == NUMBER["groceries"], 2.1, 0.6)
        loyalty *= np.exp(0.5 * rng.standard_normal(len(chosen)))
        counts = 1 + rng.multinomial(max(0, payments - len(chosen)), loyalty / loyalty.sum())
        # People move on: a third of the merchants are met only for a part of the history.
        length = span.end - span.first
        middle = span.first + (rng.random(len(chosen)) * length).astype(np.int64)
        half = (length * (0.1 + 0.3 * rng.random(len(chosen)))).astype(np.int64)
        passing = rng.random(len(chosen)) < 0.33
        first = np.where(passing, np.maximum(span.first, middle - half), span.first)
        end = np.where(passing, np.minimum(span.end, middle + half), span.end)
        return np.stack([chosen, first, end, counts], axis=1)

    def free(self, habits: list[Habit], merchants: int, payments: int, payday: int) -> _Payments:
        """Shopping and the habits of the plan: each on days that suit its kind."""
        rng, world, pair = self.rng, self.world, self.plan.pair
        rows = [(habit.merchant, habit.first, habit.end, habit.count) for habit in habits]
        slots = np.concatenate(
            [self.favourites(merchants, payments), np.array(rows, dtype=np.int64).reshape(-1, 4)]
        )
        slot = np.repeat(np.arange(len(slots)), slots[:, 3])
        merchant, first, end = slots[slot, 0], slots[slot, 1], slots[slot, 2]
        day = free_days(rng, self.span, RHYTHM[world.kinds[merchant]], (first, end), payday=payday)
        level = np.exp(0.3 * rng.standard_normal(len(slots)))[slot]
        if pair is not None:
            merchant = np.concatenate([merchant, np.tile(pair, len(self.plan.meetings))])
            day = np.concatenate([day, self.plan.meetings.ravel()])
            level = np.concatenate([level, np.ones(len(day) - len(level))])
        kind = world.kinds[merchant]
        return _Payments(merchant, day, free_pence(rng, kind, PRICE[kind] * level * self.wealth))


def _statement(
    rng: np.random.Generator, world: World, wallet: _Wallet, parts: tuple[_Payments, ...]
) -> Life:
    """Give payments their hour and wording, and send some of the money back."""
    span = wallet.span
    merchant = np.concatenate([part.merchant for part in parts])
    day = np.concatenate([part.day for part in parts])
    pence = np.concatenate([part.pence for part in parts])
    kind = world.kinds[merchant]
    minute = minutes(rng, kind, day)
    # The first store is the nearest; cards are renewed once.
    store = (rng.random(len(kind)) ** 3 * np.maximum(world.stores[merchant], 1)).astype(np.int64)
    renewed = span.first + int(rng.random() * (span.end - span.first))
    variant = 2 * store + (day >= renewed)
    won = (kind == NUMBER["gambling"]) & (rng.random(len(kind)) < 0.08)
    back = np.flatnonzero(rng.random(len(kind)) < REFUNDS[kind])
    later = rng.integers(3, 15, len(back)) * MINUTES_A_DAY
    return Life(
        np.concatenate([merchant, merchant[back]]),
        np.concatenate([minute, minute[back] + later]),
        np.concatenate([np.where(won, -pence, pence), -pence[back]]),
        np.concatenate([np.where(won, REFUND, variant), np.full(len(back), REFUND)]),
        wallet.town,
        span,
        wallet.plan,
    )


def live(rng: np.random.Generator, world: World, years: tuple[float, float]) -> Life:
    """Draw one user's life.

    Args:
        rng: the user's own stream; nothing else decides.
        world: where the user lives.
        years: shortest and longest history before the cutoff.

    Returns:
        The payments; a few refunds may lie beyond `span.end`.
    """
    cutoff = FIRST_CUTOFF + int(rng.integers(CUTOFF_DAYS))
    length = round(365.25 * (years[0] + (years[1] - years[0]) * float(rng.random())))
    span = Span(cutoff - length, cutoff, cutoff + LABEL_WINDOW_DAYS)
    drawn = MEDIAN_PAYMENTS * np.exp(PAYMENTS_SIGMA * rng.standard_normal())
    target = int(np.clip(drawn, PAYMENTS_MIN, PAYMENTS_MAX))
    merchants = (10 + 2.3 * np.sqrt(target)) * np.exp(0.2 * rng.standard_normal())
    merchants = int(np.clip(merchants, MERCHANTS_MIN, MERCHANTS_MAX))

    risky = plan(rng, world, span)
    wallet = _Wallet(rng, world, span, target, risky)
    contracts = wallet.contracts()
    habits = [habit for habit in risky.habits if habit.count]
    taken = len(contracts.day) + sum(habit.count for habit in habits)
    payments = int(max(0, target - taken) * (1 + LABEL_WINDOW_DAYS / length))
    merchants -= len(np.unique(contracts.merchant)) + len({habit.merchant for habit in habits})
    payday = int(contracts.day[0]) if len(contracts.day) else span.first
    free = wallet.free(habits, max(12, merchants), payments, payday)
    return _statement(rng, world, wallet, (contracts, free))

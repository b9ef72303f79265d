"""Simulated lives as the tables that are written: payments, labels, causes."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from functools import cache
from zoneinfo import ZoneInfo

import numpy as np
import pyarrow as pa

from lbsf_core.payments.schema import METADATA_KEY, PaymentsMetadata
from lbsf_core.payments.simulate.causes import (
    DAYS_A_MONTH,
    PAIR_GAP_DAYS,
    Cause,
    expected_rate,
)
from lbsf_core.payments.simulate.kinds import KINDS
from lbsf_core.payments.simulate.lives import Life, live
from lbsf_core.payments.simulate.rhythm import MINUTES_A_DAY, Ints
from lbsf_core.payments.simulate.statement import description, raw_name
from lbsf_core.payments.simulate.world import REFUND, world

TIMEZONE = "Europe/London"
CURRENCY = "GBP"
BEFORE_DAYS = 180
"""What a cause rose or stopped "from" is counted in this many days before its start."""
AT_THE_CUTOFF_OF = 20
"""Of so many users, one has a payment at the very instant of the cutoff."""

INSTANT = pa.timestamp("ms", tz="UTC")
PAYMENTS = pa.schema(
    [
        ("user_id", pa.string()),
        ("merchant", pa.string()),
        ("merchant_raw", pa.string()),
        ("description", pa.string()),
        ("timestamp", INSTANT),
        ("amount", pa.float64()),
        ("currency", pa.string()),
        ("category", pa.string()),
    ]
)
LABELS = pa.schema([("user_id", pa.string()), ("cutoff", INSTANT), ("label", pa.int8())])
CAUSES = pa.schema(
    [
        *LABELS,
        ("cause", pa.string()),
        ("merchant", pa.string()),
        ("merchant_2", pa.string()),
        ("change", pa.string()),
        ("start", INSTANT),
        ("effect", pa.float64()),
    ]
)


@cache
def _utc_offsets() -> Ints:
    """Minutes that local time is ahead of UTC at noon of each local day from 1970 to 2069."""
    zone = ZoneInfo(TIMEZONE)
    noon = datetime(1970, 1, 1, 12, tzinfo=zone)
    days = (date(2070, 1, 1) - noon.date()).days
    offsets = [(noon + timedelta(days=day)).utcoffset() or timedelta() for day in range(days)]
    return np.array([offset // timedelta(minutes=1) for offset in offsets], dtype=np.int64)


def to_utc(minute: Ints) -> Ints:
    """Local wall-clock minutes to UTC minutes; the hours before three count to the day before.

    So the two switches of the clock, which happen in them, need no case of their own.
    """
    return minute - _utc_offsets()[(minute - 180) // MINUTES_A_DAY]


@dataclass(frozen=True)
class User:
    """One user as written.

    Attributes:
        number: from 0; the same whatever the number of users.
        life: the payments, merchant by merchant and each in the order of time.
        utc: (payments,) UTC minutes since 1970.
    """

    number: int
    life: Life
    utc: Ints

    @property
    def name(self) -> str:
        """The `user_id`."""
        return f"u{self.number:06d}"

    @property
    def cutoff(self) -> int:
        """UTC minutes since 1970."""
        return self.life.span.cutoff * MINUTES_A_DAY


def make_user(seed: int, number: int, years: tuple[float, float]) -> User:
    """User `number` of a simulation: a function of the arguments alone."""
    sequence = np.random.SeedSequence(seed, spawn_key=(number,))
    life = live(np.random.Generator(np.random.PCG64(sequence)), world(), years)
    utc = to_utc(life.minute)
    cutoff = life.span.cutoff * MINUTES_A_DAY
    order = np.lexsort((utc, life.merchant))
    order = order[utc[order] < life.span.end * MINUTES_A_DAY]
    utc = utc[order]
    if number % AT_THE_CUTOFF_OF == 0:
        utc[np.flatnonzero(utc >= cutoff)[:1]] = cutoff
    columns = {name: getattr(life, name)[order] for name in ("merchant", "pence", "variant")}
    return User(number, replace(life, minute=life.minute[order], **columns), utc)


def null_label(seed: int, number: int) -> int:
    """A label that knows nothing of the payments: drawn from a stream of its own."""
    sequence = np.random.SeedSequence(seed, spawn_key=(number, 1))
    return int(np.random.Generator(np.random.PCG64(sequence)).random() < expected_rate())


def _instants(minutes: Ints) -> pa.Array:
    return pa.array(minutes * 60_000).cast(INSTANT)


def payments_table(users: list[User]) -> pa.Table:
    """The payments of some users, user by user."""
    lives, everything = [user.life for user in users], world()
    slot = np.repeat(np.arange(len(users)), [len(user.utc) for user in users])
    merchant = np.concatenate([life.merchant for life in lives])
    variant = np.concatenate([life.variant for life in lives])
    # Each text is made once for its (user, merchant, variant), then repeated by number.
    ways, merchants = REFUND + 1, len(everything.names)
    keys, text = np.unique((slot * merchants + merchant) * ways + variant, return_inverse=True)
    raws, lines = [], []
    for key in keys.tolist():
        rest, way = divmod(key, ways)
        at, shop = divmod(rest, merchants)
        town = lives[at].town
        raws.append(raw_name(everything, shop, town, way))
        lines.append(description(everything, users[at].number, shop, raws[-1], (town, way)))
    shops, shop_of = np.unique(merchant, return_inverse=True)
    pence = np.concatenate([life.pence for life in lives])
    columns = [
        pa.array([user.name for user in users]).take(pa.array(slot)),
        pa.array([everything.names[shop] for shop in shops]).take(pa.array(shop_of)),
        pa.array(raws).take(pa.array(text)),
        pa.array(lines).take(pa.array(text)),
        _instants(np.concatenate([user.utc for user in users])),
        pa.array(pence / 100.0),
        pa.repeat(CURRENCY, len(slot)),
        pa.array([kind.name for kind in KINDS]).take(pa.array(everything.kinds[merchant])),
    ]
    return pa.Table.from_arrays(columns, schema=PAYMENTS)


def labels_table(users: list[User], labels: list[int]) -> pa.Table:
    """One (user, cutoff, label) a row."""
    names = [user.name for user in users]
    cutoffs = np.array([user.cutoff for user in users], dtype=np.int64)
    columns = [pa.array(names), _instants(cutoffs), pa.array(labels, pa.int8())]
    return pa.Table.from_arrays(columns, schema=LABELS)


def causes_table(users: list[User], labels: list[int]) -> pa.Table:
    """What was planted in those of the users who have a cause."""
    names = world().names
    planted = [
        (user, label, user.life.plan.cause)
        for user, label in zip(users, labels, strict=True)
        if user.life.plan.cause is not None
    ]
    having, causes = [user for user, _, _ in planted], [cause for _, _, cause in planted]
    starts = np.array([cause.start * MINUTES_A_DAY for cause in causes], dtype=np.int64)
    seconds = [None if cause.merchant_2 is None else names[cause.merchant_2] for cause in causes]
    columns = [
        *labels_table(having, [label for _, label, _ in planted]).columns,
        pa.array([cause.name for cause in causes], pa.string()),
        pa.array([names[cause.merchant] for cause in causes], pa.string()),
        pa.array(seconds, pa.string()),
        pa.array([_change(user, cause) for user, _, cause in planted], pa.string()),
        _instants(starts),
        pa.array([cause.effect for cause in causes], pa.float64()),
    ]
    return pa.Table.from_arrays(columns, schema=CAUSES)


def _change(user: User, cause: Cause) -> str:
    """What changed, in words whose figures are counted in the payments themselves."""
    start, life, everything = cause.start * MINUTES_A_DAY, user.life, world()
    at = user.utc[life.merchant == cause.merchant]
    before = int(((at < start) & (at >= start - BEFORE_DAYS * MINUTES_A_DAY)).sum())
    after = int(((at >= start) & (at < user.cutoff)).sum())
    day = date(1970, 1, 1) + timedelta(days=cause.start)
    kind, name = KINDS[everything.kinds[cause.merchant]].name, everything.names[cause.merchant]
    if cause.merchant_2 is not None:
        other = KINDS[everything.kinds[cause.merchant_2]].name
        return (
            f"{kind} at {name}, then within {PAIR_GAP_DAYS} days {other} at "
            f"{everything.names[cause.merchant_2]}, {after} times since {day}"
        )
    was = before / (min(BEFORE_DAYS, cause.start - life.span.first) / DAYS_A_MONTH)
    if cause.name == "salary stops":
        return f"salary from {name} fell from {was:.1f} to 0.0 a month, none since {day}"
    now = after / ((life.span.cutoff - cause.start) / DAYS_A_MONTH)
    return f"{kind} at {name} rose from {was:.1f} to {now:.1f} a month since {day}"


def with_metadata(table_schema: pa.Schema, metadata: PaymentsMetadata) -> pa.Schema:
    """The schema with the metadata that `read_metadata` finds."""
    return table_schema.with_metadata({METADATA_KEY: metadata.to_json().encode()})

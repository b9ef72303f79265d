"""How a bank statement words a simulated payment: raw merchant text and description."""

from __future__ import annotations

from lbsf_core.payments.simulate.kinds import KINDS
from lbsf_core.payments.simulate.world import REFUND, World

_LONGEST = 44
_TEMPLATES = {
    "card": "{card_way} {card} {raw} {town} GB",
    "online": "{online_way} {raw} {five}",
    "cash": "CASH {card} {raw} {town}",
    "transfer": "FASTER PAYMENT TO {raw} {note}",
    "salary": "BGC {raw} SALARY {five}",
    "standing order": "STANDING ORDER {raw} RENT",
    "direct debit": "DIRECT DEBIT {short} REF {seven}",
}
_CARD_WAYS = ("CARD PURCHASE", "CONTACTLESS", "POS", "DEBIT CARD")
_ONLINE_WAYS = ("WEB", "E-COM", "QP *", "NETPAY*")
_NOTES = ("thanks", "dinner", "birthday", "shared bills", "tickets", "")
_SILENT_OF = 25
"""Of so many shops, one leaves no description."""


def _mixed(*numbers: int) -> int:
    """A well-mixed, repeatable number: a card or a reference must not change with each payment."""
    value = 0x9E3779B97F4A7C15
    for number in numbers:
        value = ((value ^ (number + 0x7F4A7C15)) * 0xBF58476D1CE4E5B9) & 0xFFFFFFFFFFFFFFFF
        value ^= value >> 29
    return value


def raw_name(world: World, merchant: int, town: int, variant: int) -> str:
    """The merchant as the source writes it: capitals, store numbers; normalises to the key."""
    name = world.names[merchant]
    if world.stores[merchant]:
        store = 0 if variant == REFUND else variant // 2
        number = 1000 + _mixed(merchant, town, store) % 8999
        return f"{name.upper()} {number}" if merchant % 2 else f"{name.title()} #{number}"
    return name.title() if merchant % 4 == 0 else name.upper()


def description(world: World, user: int, merchant: int, raw: str, place: tuple[int, int]) -> str:
    """The line on the statement: prefix, card, shop, town, reference; cut off like real ones.

    Args:
        world: where the merchant is.
        user: number of the user; cards and references hang on it.
        merchant: number of the merchant.
        raw: the merchant's raw text.
        place: the home town and the variant (see `world`).
    """
    kind = KINDS[world.kinds[merchant]]
    town, variant = place
    if variant == REFUND:
        return f"{'WINNINGS' if kind.name == 'gambling' else 'REFUND'} {raw.upper()}"
    seed = _mixed(user, merchant)
    if kind.channel == "card" and seed % _SILENT_OF == 0:
        return ""
    line = _TEMPLATES[kind.channel].format(
        raw=raw.upper(),
        short=raw.upper()[:18].strip(),
        town=world.towns[town].upper(),
        card=1000 + _mixed(user, variant % 2) % 8999,
        card_way=_CARD_WAYS[seed % 4],
        online_way=_ONLINE_WAYS[seed % 4],
        note=_NOTES[seed % len(_NOTES)],
        five=f"{seed % 100_000:05d}",
        seven=f"{seed % 10_000_000:07d}",
    )
    return line[:_LONGEST].strip()

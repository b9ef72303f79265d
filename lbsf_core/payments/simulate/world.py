"""The simulated world: towns, merchants with invented names, and how a statement words them.

It is the same for every seed, so that a model trained on one simulation meets known merchants in
another, as it would in one country.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from lbsf_core.payments.simulate.kinds import KINDS, NUMBER, POPULARITY

TOWNS_COUNT = 60
_WORLD_SEED = 20_241_115
_LOCAL_PER_ENDING = 3
_CHAIN_PULL = 4.0

_TOWN_HEADS = "ash bram cald dun elm fern gar hal inge kels lang mar nor oak pem rad stan wex yar"
_TOWN_TAILS = "bury ford ham ley mouth stead wick worth ton dale"
_SURNAME_HEADS = (
    "ash brack carr dell ever fair gold hart ives jess kemp lock mar neth orm pell quar rook sel "
    "tarr under vane whit yard"
)
_SURNAME_TAILS = "by combe croft den er field gate ham land ley man more ridge ton well wood"
_FIRST = (
    "amira ben carla dev elsie farid grace hugo imran jodie kofi lena marek nadia owen priya "
    "quinn rosa sam tariq una victor wanda yusuf zoe"
)
_NOUNS = (
    "anchor badger compass crown dove elm feather griffin harvest ivy jug kestrel lantern maple "
    "nettle otter plough quill raven swan thistle urn violet willow wren"
)
_ADJECTIVES = "black blue copper crooked golden green little merry old quiet red royal silver white"
_FIRM_TAILS = "logistics, engineering, care, foods, retail group, solutions, construction, academy"
_LETTING_TAILS = "lettings, property management, homes, estates"

REFUND = 6
"""The largest variant: a variant is `2 * store + card` (store 0..2, old or new card), or REFUND."""


@dataclass(frozen=True)
class World:
    """All merchants.

    Attributes:
        names: the normalised key of each merchant.
        kinds: (merchants,) number of the kind of each.
        stores: (merchants,) in how many numbered stores a user meets it: 1 or more for chains
            with stores, 0 for all others.
        pools: per town, the merchants that people there choose of their own accord.
        pulls: per town, how strongly each of the pool draws, > 0.
        by_kind: per number of kind, the merchants known everywhere.
        people: the payees of transfers.
        towns: names of the towns.
    """

    names: tuple[str, ...]
    kinds: NDArray[np.int64]
    stores: NDArray[np.int64]
    pools: tuple[NDArray[np.int64], ...]
    pulls: tuple[NDArray[np.float64], ...]
    by_kind: dict[int, NDArray[np.int64]]
    people: NDArray[np.int64]
    towns: tuple[str, ...]


def _surnames(rng: np.random.Generator) -> Callable[[], str]:
    heads, tails = _SURNAME_HEADS.split(), _SURNAME_TAILS.split()
    return lambda: heads[rng.integers(len(heads))] + tails[rng.integers(len(tails))]


def _shop_name(rng: np.random.Generator, ending: str, surname: Callable[[], str]) -> str:
    adjectives, nouns = _ADJECTIVES.split(), _NOUNS.split()
    adjective = adjectives[rng.integers(len(adjectives))]
    noun = nouns[rng.integers(len(nouns))]
    style = rng.integers(4)
    if style == 0:
        return f"{surname()} {ending}"
    if style == 1:
        return f"the {adjective} {noun} {ending}"
    if style == 2:
        return f"{noun} and {nouns[rng.integers(len(nouns))]} {ending}"
    return f"{surname()} and {surname()} {ending}"


@cache
def world() -> World:
    """The one world of every simulation (about 8,000 merchants in 60 towns)."""
    rng = np.random.Generator(np.random.PCG64(_WORLD_SEED))
    surname = _surnames(rng)
    names: list[str] = []
    kinds: list[int] = []
    stores: list[int] = []
    numbers: dict[tuple[str, int], int] = {}

    def add(name: str, kind: int, store_count: int = 0) -> int:
        if (name, kind) not in numbers:
            numbers[name, kind] = len(names)
            names.append(name)
            kinds.append(kind)
            stores.append(store_count)
        return numbers[name, kind]

    by_kind: dict[int, list[int]] = {number: [] for number in range(len(KINDS))}
    for number, kind in enumerate(KINDS):
        for position, chain in enumerate(kind.chains):
            with_stores = kind.channel == "card" and POPULARITY[number] > 0
            by_kind[number].append(add(chain, number, 1 + position % 3 if with_stores else 0))
    for endings, number in ((_FIRM_TAILS, NUMBER["salary"]), (_LETTING_TAILS, NUMBER["rent"])):
        for tail in endings.split(", "):
            by_kind[number] += [add(f"{surname()} {tail}", number) for _ in range(40)]
    first = _FIRST.split()
    people = [
        add(f"{first[rng.integers(len(first))]} {surname()}", NUMBER["transfer"])
        for _ in range(1500)
    ]

    heads, tails = _TOWN_HEADS.split(), _TOWN_TAILS.split()
    picks = rng.permutation(len(heads) * len(tails))[:TOWNS_COUNT]
    towns = tuple(heads[pick % len(heads)] + tails[pick // len(heads)] for pick in picks)
    everywhere = [
        merchant
        for number, kind in enumerate(KINDS)
        if kind.popularity
        for merchant in by_kind[number]
    ]
    pools, pulls = [], []
    for town in towns:
        local = [
            add(_shop_name(rng, ending, surname), number)
            for number, kind in enumerate(KINDS)
            for ending in kind.local
            for _ in range(_LOCAL_PER_ENDING)
            if kind.popularity
        ]
        for number in (NUMBER["gambling"], NUMBER["pawnbroker"]):
            ending = KINDS[number].local[rng.integers(2)]
            by_kind[number].append(add(f"{town} {ending}", number))
        pool = np.array(list(dict.fromkeys(everywhere + local)), dtype=np.int64)
        pool_kinds = np.array([kinds[merchant] for merchant in pool])
        crowd = np.bincount(pool_kinds, minlength=len(KINDS))[pool_kinds]
        known = np.isin(pool, everywhere)
        pools.append(pool)
        pulls.append(POPULARITY[pool_kinds] / crowd * np.where(known, _CHAIN_PULL, 1.0))
    return World(
        tuple(names),
        np.array(kinds, dtype=np.int64),
        np.array(stores, dtype=np.int64),
        tuple(pools),
        tuple(pulls),
        {number: np.array(merchants, dtype=np.int64) for number, merchants in by_kind.items()},
        np.array(people, dtype=np.int64),
        towns,
    )

"""The kinds of merchant in the simulated world: when people pay there, how much, and how often."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

FLAT, WEEKEND, WEEKDAY, PAYDAY = range(4)
"""Rhythms of the week and month that a kind of merchant can follow."""


@dataclass(frozen=True)
class Kind:
    """One kind of merchant.

    Attributes:
        name: the `category` of its payments.
        hour, spread: local time of day, mean and standard deviation in hours (0 = always then).
        price, sigma: median of an amount in pounds and its spread on the log scale.
        step: amounts are multiples of this many pence.
        rhythm: FLAT, WEEKEND, WEEKDAY or PAYDAY.
        popularity: how often people choose such merchants of their own accord; 0 = only where
            a habit or a contract says so.
        sign: +1 for money in, -1 for money out.
        channel: how the statement words it.
        refunds: share of payments that come back.
        chains: names known everywhere.
        local: endings of the names of one-town shops; empty = there are none.
    """

    name: str
    hour: float
    spread: float
    price: float
    sigma: float
    step: int
    rhythm: int
    popularity: float
    sign: int = -1
    channel: str = "card"
    refunds: float = 0.0
    chains: tuple[str, ...] = ()
    local: tuple[str, ...] = ()


def _names(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(","))


# A table: name, hour, spread, price, sigma, step, rhythm, popularity.
# fmt: off
KINDS: tuple[Kind, ...] = (
    Kind("groceries", 17, 2.5, 24, 0.8, 1, FLAT, 9, refunds=0.004,
         chains=_names("harrowmart, fennick foods, greenbasket, corner larder, budmoor row, "
                       "penny pantry, northmoor stores, olive and rye, farmhouse direct"),
         local=_names("stores, food and wine, bakery, butchers, greengrocer, mini market, deli")),
    Kind("eating out", 19, 2.6, 17, 0.6, 5, WEEKEND, 6,
         chains=_names("nandoro grill, wokbarn, pizza tempo, burger union, noodle quay, curry "
                       "leaf house, taco parade, fishbone chippy"),
         local=_names("kitchen, tavern, arms, bistro, grill, tandoori, pizzeria, fish bar, inn")),
    Kind("coffee", 9, 1.8, 4, 0.35, 5, WEEKDAY, 6,
         chains=_names("beanhouse, caffe lumo, kettle and crumb, brewline, morning ritual"),
         local=_names("coffee, tearooms, cafe, espresso bar")),
    Kind("fuel", 17, 3, 42, 0.35, 1, WEEKDAY, 3,
         chains=_names("petrolane, apexo fuels, roadstar, crestway services, voltway charging"),
         local=_names("service station, garage")),
    Kind("transport", 8, 2, 5, 0.6, 10, WEEKDAY, 5, refunds=0.01,
         chains=_names("trundle metro, northrail tickets, hopcab, cityhop bus, parkwell"),
         local=_names("taxis, car park, private hire")),
    Kind("shopping", 14, 3, 28, 0.8, 100, WEEKEND, 4, refunds=0.06,
         chains=_names("larkspur clothing, denholm and daughters, shoebarn, brightside "
                       "electrical, paperhouse, toybox lane, sportique, nestwell home, fabrika, "
                       "glowshop"),
         local=_names("boutique, books, shoes, gifts, hardware, antiques, cycles, flowers")),
    Kind("online shopping", 20, 3, 22, 0.9, 1, PAYDAY, 5, channel="online", refunds=0.07,
         chains=_names("marketlane marketplace, parcelbee, gadgetorium, threadbox, bookwyrm "
                       "online, petpantry direct, craftnook, sneakervault, homely online, "
                       "vinylcrate")),
    Kind("health", 13, 3, 14, 0.7, 5, WEEKDAY, 2, refunds=0.01,
         chains=_names("wellbright pharmacy, clearview opticians, medipoint"),
         local=_names("pharmacy, dental practice, opticians, barbers, hair studio, physio")),
    Kind("leisure", 19, 3, 15, 0.7, 50, WEEKEND, 3,
         chains=_names("odeline cinemas, strikezone bowling, ticketfair, gamesloft, bouncearena"),
         local=_names("leisure centre, theatre, swimming baths, golf club, museum")),
    Kind("travel", 20, 3.5, 160, 0.8, 100, PAYDAY, 1, channel="online", refunds=0.05,
         chains=_names("skyhopper airlines, roamstay hotels, ferrylink, wanderly holidays, "
                       "cottage finder, euroloop rail, carhire junction"),
         local=_names("hotel, guest house")),
    Kind("cash withdrawal", 14, 4, 40, 0.5, 1000, PAYDAY, 2, channel="cash",
         chains=_names("linkpoint cash machine, coinhatch atm, post counter cash machine")),
    Kind("transfer", 18, 3.5, 30, 0.9, 500, FLAT, 2.5, channel="transfer"),
    Kind("salary", 3, 0, 2050, 0, 1, FLAT, 0, sign=1, channel="salary"),
    Kind("rent", 6, 0, 720, 0, 500, FLAT, 0, channel="standing order"),
    Kind("utilities", 5, 0, 62, 0.3, 1, FLAT, 0, channel="direct debit",
         chains=_names("northgrid energy, brightwatt, clearwell water, riverside water, "
                       "fibrenest broadband, talkstream mobile, chatterbox mobile, gaslight "
                       "energy")),
    Kind("insurance", 5, 0, 34, 0.3, 1, FLAT, 0, channel="direct debit",
         chains=_names("shieldwell insurance, harbour mutual, safelane motor cover, pawshield")),
    Kind("subscription", 4, 0, 10, 0.4, 50, FLAT, 0, channel="online",
         chains=_names("streamova, tunecast music, filmbarn plus, cloudattic storage, fitfactory "
                       "gym, newsfolio, arcadepass, mealcrate, audioshelf, paceclub fitness")),
    Kind("gambling", 22, 2.6, 25, 0.7, 500, PAYDAY, 0, channel="online",
         chains=_names("luckyfern bets, spinhollow casino, trotters bookmakers, jackpot jetty, "
                       "acehaven poker, bingo meadow, oddsmere sports betting, goldreel slots"),
         local=_names("bookmakers, amusements")),
    Kind("cash advance", 15, 3.5, 120, 0.5, 1000, FLAT, 0, channel="cash",
         chains=_names("quidbridge cash advance, swiftpound loans, paydaylite, tidecash advance, "
                       "minutemoney loans, fastlane cash advance")),
    Kind("buy now pay later", 7, 1, 26, 0.6, 1, FLAT, 0, channel="online",
         chains=_names("splitly pay later, parcelpay instalments, laterlane, threeparts, "
                       "easywear pay in four, deferio pay later")),
    Kind("pawnbroker", 12, 2, 110, 0.5, 500, FLAT, 0, sign=1,
         chains=_names("three globes pawnbrokers, goldhatch pawn, silverkey pawnbrokers"),
         local=_names("pawnbrokers, pawn and loan")),
    Kind("leveraged trading", 21, 1.5, 90, 0.5, 1000, FLAT, 0, channel="online",
         chains=_names("marginhawk trading, leveron markets, cfd compass, pipstorm trading, "
                       "swingdesk trading")),
    Kind("debt collection", 10, 2, 60, 0.4, 500, WEEKDAY, 0, channel="online",
         chains=_names("stonefold recoveries, meridian collections, northern debt services")),
)
# fmt: on
NUMBER: dict[str, int] = {kind.name: number for number, kind in enumerate(KINDS)}

HOUR = np.array([kind.hour for kind in KINDS])
SPREAD = np.array([kind.spread for kind in KINDS])
PRICE = np.array([kind.price for kind in KINDS])
SIGMA = np.array([kind.sigma for kind in KINDS])
STEP = np.array([kind.step for kind in KINDS], dtype=np.int64)
RHYTHM = np.array([kind.rhythm for kind in KINDS], dtype=np.int64)
SIGN = np.array([kind.sign for kind in KINDS], dtype=np.int64)
REFUNDS = np.array([kind.refunds for kind in KINDS])
POPULARITY = np.array([kind.popularity for kind in KINDS])

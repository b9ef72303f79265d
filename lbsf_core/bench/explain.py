"""`lbsf bench explain`: seconds to say why, for one user and for many."""

from __future__ import annotations

import json
import statistics
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from lbsf_core.bench.data import folded_users
from lbsf_core.config import ModelConfig
from lbsf_core.errors import LbsfError
from lbsf_core.explain.baselines import CHECK, Baseline
from lbsf_core.explain.batch import explain_batch
from lbsf_core.explain.counterfactual import counterfactuals
from lbsf_core.explain.gradient import FIRST_STEPS, explain
from lbsf_core.explain.reasons import reasons
from lbsf_core.explain.removal import Coalitions
from lbsf_core.explain.sufficient import sufficient
from lbsf_core.fold.batch import DAY, FoldedBatch
from lbsf_core.machine import limits, machine, seconds_of
from lbsf_core.model.bundle import Bundle
from lbsf_core.model.fields import signed_log
from lbsf_core.model.lbsf import LBSF
from lbsf_core.score.calibration import Calibration

#: Payments of a user of many, about the median of a year of purchase cards.
MANY_PAYMENTS = 96
#: Payments of the history that TimeSHAP explains too, not one of them pruned.
TIMESHAP_PAYMENTS = 480
#: Rounds of that comparison at most; TimeSHAP takes seconds for one.
TIMESHAP_ROUNDS = 3
_TIMESHAP_HELP = "`make timeshap` makes an environment for it, give its bin/python."


def bench_explain(
    *,
    payments: int = 1000,
    merchants: int = 60,
    coalitions: int = 2000,
    many: int = 256,
    rounds: int = 5,
    width: int = 64,
    seed: int = 0,
    timeshap: Path | None = None,
) -> dict[str, Any]:
    """Time the engines on invented payments; weights are random, and cost the same.

    Args:
        payments: of the one user.
        merchants: of the one user.
        coalitions: that Shapley values are made of.
        many: users that are explained as `lbsf explain-all` does.
        rounds: counted rounds after one that is not; the median counts.
        width: of the model.
        seed: of payments and weights.
        timeshap: the Python of an environment with TimeSHAP, see `default_timeshap`; None leaves
            that comparison out.

    Returns:
        Seconds, samples per second and the machine. A figure is None where TimeSHAP is not
        installed.

    Raises:
        LbsfError: TimeSHAP can't be run there.
    """
    one = folded_users(payments, 1, seed, merchants)
    crowd = folded_users(MANY_PAYMENTS, many, seed)
    torch.manual_seed(seed)
    model = LBSF.fit(ModelConfig(width=width), (), FoldedBatch.concat([one, crowd])).eval()
    bundle = Bundle(model, {"slope": 1.0, "intercept": 0.0})
    found = Coalitions(model, one)
    asked = found.shapley(budget=coalitions, seed=seed).coalitions
    largest = int(np.argmax(np.diff(one.offsets)))

    def shapley() -> None:
        Coalitions(model, one).shapley(budget=coalitions, seed=seed)

    def edit() -> None:
        """Take one merchant's payments out: fold again and score."""
        with torch.inference_mode():
            model(one.keep(one.segment_of_payment != largest))

    # Below what any single merchant's removal reaches, so that changes must be put together.
    alone = found.logits(~np.eye(found.merchants, dtype=bool))
    whole, lowest = float(found.logits(np.ones((1, found.merchants), dtype=bool))[0]), alone.min()
    threshold = float(Calibration().pd(lowest - 0.5 * (whole - lowest)))
    taken = {
        "shapley_2000_s": _seconds(shapley, rounds) * coalitions / asked,
        "payments_of_a_merchant_s": _seconds(lambda: found.payments(largest), rounds),
        "interactions_s": _seconds(found.interactions, rounds),
        "gradient_s": _seconds(lambda: explain(bundle, one), rounds),
        "whatif_s": _seconds(edit, rounds),
        "counterfactual_s": _seconds(lambda: counterfactuals(bundle, one, threshold), rounds),
        # Nothing reaches it: every combination that the search allows is tried.
        "counterfactual_none_s": _seconds(lambda: counterfactuals(bundle, one, 2e-5), rounds),
        "sufficient_s": _seconds(lambda: sufficient(bundle, one, threshold), rounds),
        "reasons_s": _seconds(lambda: reasons(bundle, one, threshold=0.0), rounds),
    }
    check = Baseline(CHECK, "one user", crowd.select([0]), FIRST_STEPS)
    crowd_s = _seconds(lambda: explain_batch(bundle, crowd, check=check), rounds)
    about = {"rounds": rounds, "payments": payments, "merchants": found.merchants, "width": width}
    about |= {"coalitions": asked, "threads": torch.get_num_threads()}
    about |= {"many": many, "many_payments": MANY_PAYMENTS}
    return {
        **taken,
        **_against_timeshap(timeshap, coalitions, min(rounds, TIMESHAP_ROUNDS), width, seed),
        "explain_all_per_s": many / crowd_s,
        "machine": machine() | limits() | about,
    }


def default_timeshap() -> Path | None:
    """The Python that `make timeshap` makes beside the sources, or None."""
    python = Path(__file__).resolve().parents[2] / ".venv-timeshap" / "bin" / "python"
    return python if python.is_file() else None


def _against_timeshap(
    python: Path | None, coalitions: int, rounds: int, width: int, seed: int
) -> dict[str, Any]:
    """Seconds for so many coalitions of one history: ours, and TimeSHAP's event level on a GRU.

    The GRU has our width and reads seven numbers of each payment, no texts, which favours it.
    """
    if python is None:
        return {"timeshap_ratio": None, "timeshap_payments_ratio": None, "timeshap": None}
    batch = folded_users(TIMESHAP_PAYMENTS, 1, seed)
    torch.manual_seed(seed)
    model = LBSF.fit(ModelConfig(width=width), (), batch).eval()
    found = Coalitions(model, batch)
    share = np.diff(batch.offsets) / len(batch.amounts)

    def merchants() -> int:
        return Coalitions(model, batch).shapley(budget=coalitions, seed=seed).coalitions

    def payments() -> int:
        """Values of all payments, merchant by merchant; each gets its share of the coalitions."""
        budgets = np.maximum(1, np.round(coalitions * share)).astype(int)
        return sum(
            found.payments(at, budget=int(budget), seed=seed).coalitions
            for at, budget in enumerate(budgets)
        )

    ours = {
        "merchants_s": _seconds(merchants, rounds) * coalitions / merchants(),
        "payments_s": _seconds(payments, rounds) * coalitions / payments(),
    }
    asked = {
        "sequence": _numbers(batch).tolist(),
        "width": width,
        "coalitions": coalitions,
        "rounds": rounds,
        "threads": torch.get_num_threads(),
        "seed": seed,
    }
    theirs = ask_timeshap(python, asked)
    return {
        "timeshap_ratio": theirs["event_s"] / ours["merchants_s"],
        "timeshap_payments_ratio": theirs["event_s"] / ours["payments_s"],
        "timeshap": ours | theirs | {"payments": TIMESHAP_PAYMENTS, "rounds": rounds},
    }


def ask_timeshap(python: Path, asked: dict[str, Any]) -> dict[str, Any]:
    """Run `timeshap_peer.py`, which says what is asked and answered, by another Python.

    Raises:
        LbsfError: it gives no answer.
    """
    script = Path(__file__).with_name("timeshap_peer.py")
    try:
        # Isolated: neither this folder nor anything of this environment may be imported there.
        done = subprocess.run(
            [python, "-I", script],
            check=False,
            input=json.dumps(asked),
            capture_output=True,
            text=True,
        )
        found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    except OSError as error:
        raise LbsfError(f"{python}: {error.strerror}; {_TIMESHAP_HELP}") from error
    except (IndexError, json.JSONDecodeError) as error:
        why = (done.stderr or done.stdout).strip().splitlines()
        raise LbsfError(
            f"{python}: TimeSHAP did not run ({why[-1] if why else 'it said nothing'}); "
            f"{_TIMESHAP_HELP}"
        ) from error
    return found


def _numbers(batch: FoldedBatch) -> npt.NDArray[np.float64]:
    """(N, 7) of one sample's payments in order of time: amount, age, gap, hour, weekday."""
    order = np.argsort(batch.timestamps, kind="stable")
    time_, amount = batch.timestamps[order], signed_log(batch.amounts[order])
    age = np.log1p((batch.cutoffs[0] - time_) / DAY)
    gap = np.log1p(np.diff(time_, prepend=time_[0]) / DAY)
    day, week = 2 * np.pi * (time_ % DAY) / DAY, 2 * np.pi * (time_ // DAY % 7) / 7
    waves = (np.sin(day), np.cos(day), np.sin(week), np.cos(week))
    return np.stack([amount, age, gap, *waves], axis=1)


def _seconds(work: Callable[[], object], rounds: int) -> float:
    return statistics.median(seconds_of(work, rounds))

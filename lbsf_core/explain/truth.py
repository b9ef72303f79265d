"""Everything that is measured about how true a bundle's explanations are, and where it is kept.

What is looked at twice, or needs many models, is measured on fewer users than the rest; each part
says on how many.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from lbsf_core.explain.attention import uniform_auc
from lbsf_core.explain.faithfulness import draw, faithfulness
from lbsf_core.explain.sanity import sanity
from lbsf_core.explain.stability import LEAST_MERCHANTS, randomisation, stability
from lbsf_core.fold.store import FoldedStore
from lbsf_core.model.bundle import Bundle

Progress = Callable[[str, int, int], None]

#: Most users of each part, so that all of them take a few minutes.
SANITY_USERS, RANDOM_USERS, STABLE_USERS = 60, 30, 60


def truth(
    store: FoldedStore,
    bundle: Bundle,
    *,
    users: int = 200,
    seed: int = 0,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Measure a bundle's explanations on users of a store.

    Args:
        store: the samples.
        bundle: the model.
        users: samples that deletion and insertion are measured on, one a user; of the other parts
            at most so many.
        seed: of all that is drawn.
        progress: called with (what is being done, done, in all).

    Returns:
        What `faithfulness` finds, and "attention_uniform" (`uniform_auc`), "infidelity" and
        "sensitivity" (`sanity`), "randomisation" and "stability" (`stability`).
    """

    def told(what: str) -> Callable[[int, int], None] | None:
        return (lambda done, total: progress(what, done, total)) if progress else None

    found = faithfulness(store, bundle, users=users, seed=seed, progress=told("taking out"))
    some = draw(store, min(users, max(SANITY_USERS, STABLE_USERS)), seed)
    ranked = draw(store, min(users, RANDOM_USERS), seed, LEAST_MERCHANTS)
    checks = sanity(store, bundle, some[:SANITY_USERS], seed=seed, progress=told("moving"))
    return {
        **found,
        "attention_uniform": uniform_auc(store, bundle, seed=seed),
        **checks,
        "randomisation": randomisation(
            store, bundle, ranked, seed=seed, progress=told("randomising")
        ),
        "stability": stability(store, bundle, some[:STABLE_USERS], progress=told("repeating")),
    }


def keep(
    found: dict[str, Any], path: str | Path, bundle: Bundle, store: FoldedStore, *, seed: int
) -> Bundle:
    """Write what `truth` found into its bundle; the weights and their digest stay.

    Args:
        found: the result.
        path: folder of the bundle.
        bundle: as read from there.
        store: that it was measured on.
        seed: that it was measured with.
    """
    about = {
        "store": store.content,
        "samples": found["users"],
        "date": datetime.now(UTC).date().isoformat(),
        "seed": seed,
    }
    measured = replace(bundle, faithfulness=found | about)
    measured.save(path)
    return measured

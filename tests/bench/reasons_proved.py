"""How many reason codes hold: python -m tests.bench.reasons_proved STORE BUNDLE [SAMPLES]

Of the riskiest samples every cited payment is taken out of the store's own rows and the rest is
scored by a whole forward pass, which is another way than the one the reasons are found by. Prints
JSON: samples asked, those with a score above the bundle's own default rate, reasons given, those
that move the score the way they say, and how many low scores were given reasons unasked.
"""

from __future__ import annotations

import json
import sys

import numpy as np

from lbsf_core.explain.reasons import LEAST_EFFECT, reasons
from lbsf_core.fold.store import FoldedStore
from lbsf_core.model.bundle import Bundle
from lbsf_core.score.scorer import batch_logits, score_store


def main(store: str, bundle: str, most: int = 200) -> None:
    """Count over the riskiest and as many of the safest samples."""
    folded, model = FoldedStore.open(store), Bundle.load(bundle)
    order = score_store(folded, model).to_pandas().sort_values("pd", ascending=False)
    found = dict.fromkeys(("asked", "high", "given", "hold", "without_any", "low_with_reasons"), 0)
    for row in order["sample"].head(most):
        batch = folded.read([int(row)])
        told = reasons(model, batch)
        found["asked"] += 1
        found["high"] += told.given
        found["without_any"] += told.given and not told.risk
        for sign, side in ((1, told.risk), (-1, told.protective)):
            for reason in side:
                left = np.ones(len(batch.amounts), dtype=bool)
                left[list(reason.payments)] = False
                logit = float(batch_logits(model.model, [batch.keep(left)])[0])
                found["given"] += 1
                found["hold"] += sign * (told.logit - logit) >= LEAST_EFFECT - 1e-5
    for row in order["sample"].tail(most):
        told = reasons(model, folded.read([int(row)]))
        found["low_with_reasons"] += not told.given and bool(told.risk or told.protective)
    print(json.dumps({key: int(value) for key, value in found.items()}))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], *(int(value) for value in sys.argv[3:]))

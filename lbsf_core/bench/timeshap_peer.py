"""TimeSHAP's event level on a GRU, timed: a script of its own, run by `lbsf bench explain`.

TimeSHAP needs packages that lbsf is past, so this runs in an environment apart (`make timeshap`)
and imports nothing of lbsf. It reads one JSON object from standard input and prints one:

    {"sequence": (T, D) numbers, "width", "coalitions", "rounds", "threads", "seed"}
    {"event_s", "model_s", "versions"}

`event_s` is `timeshap.explainer.event_level` as it is called by its users, nothing pruned;
`model_s` the part of it inside the GRU. Both are medians over the rounds.
"""

from __future__ import annotations

import json
import statistics
import sys
import time
from importlib.metadata import version
from typing import Any


def measure(given: dict[str, Any]) -> dict[str, Any]:
    """Time it; the first round, which compiles and allocates, does not count."""
    import numpy as np
    import torch
    from timeshap.explainer import event_level  # type: ignore[import-not-found,unused-ignore]
    from timeshap.wrappers import (  # type: ignore[import-not-found,unused-ignore]
        TorchModelWrapper,
    )

    torch.set_num_threads(given["threads"])
    torch.manual_seed(given["seed"])
    events = np.asarray(given["sequence"], dtype=np.float64)[None]  # (1, T, D)

    class Score(torch.nn.Module):
        """(N, T, D) -> (N, 1): a GRU and a linear head on its last state."""

        def __init__(self) -> None:
            super().__init__()
            self.gru = torch.nn.GRU(events.shape[2], given["width"], batch_first=True)
            self.head = torch.nn.Linear(given["width"], 1)

        def forward(self, sequences: torch.Tensor) -> torch.Tensor:
            states, _ = self.gru(sequences)
            logits: torch.Tensor = self.head(states[:, -1])
            return logits

    model = TorchModelWrapper(Score())
    inside = 0.0

    def score(sequences: Any) -> Any:  # noqa: ANN401 - arrays of another numpy
        nonlocal inside
        start = time.perf_counter()
        found = model.predict_last_hs(sequences)
        inside += time.perf_counter() - start
        return found

    typical = events.mean(axis=1)  # (1, D)
    whole, in_model = [], []
    for _ in range(given["rounds"] + 1):
        inside, start = 0.0, time.perf_counter()
        values = event_level(score, events, typical, 0, given["seed"], given["coalitions"])
        whole.append(time.perf_counter() - start)
        in_model.append(inside)
        if len(values) != events.shape[1]:
            raise SystemExit(f"{len(values)} values for {events.shape[1]} events: it pruned some.")
    return {
        "event_s": statistics.median(whole[1:]),
        "model_s": statistics.median(in_model[1:]),
        "versions": {name: version(name) for name in ("timeshap", "shap", "numpy", "torch")},
    }


if __name__ == "__main__":
    asked = json.load(sys.stdin)
    found = measure(asked)
    print(json.dumps(found))  # last: packages of this age print on import

"""What an evaluation draws, by hand."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from lbsf_core.evaluate.report import PARTS, lift, performance, precision_recall

#: Ten samples, highest PD first: three bad, at places 1, 2 and 5.
PDS = np.linspace(0.95, 0.05, 10)
LABELS = np.array([1, 1, 0, 0, 1, 0, 0, 0, 0, 0], dtype=float)


def test_lift_by_hand() -> None:
    rows = lift(LABELS, PDS)
    assert [row["part"] for row in rows] == list(range(1, 11))
    assert rows[0]["lift"] == pytest.approx(1 / 0.3)
    assert [row["captured"] for row in rows[:5]] == pytest.approx([1 / 3, 2 / 3, 2 / 3, 2 / 3, 1])
    assert rows[9] == {"part": 10, "samples": 1, "bad": 0.0, "rate": 0.0, "lift": 0, "captured": 1}


def test_precision_and_recall_by_hand() -> None:
    rows = precision_recall(LABELS, PDS)
    at = {round(row["threshold"], 2): row for row in rows}
    assert at[0.95]["precision"] == 1 and at[0.95]["recall"] == pytest.approx(1 / 3)
    assert at[0.55]["precision"] == pytest.approx(3 / 5) and at[0.55]["recall"] == 1
    assert at[0.05]["precision"] == pytest.approx(0.3)
    assert len(rows) == 10  # not the end that declines nobody


def test_every_part_is_there_with_labels_and_without() -> None:
    users = [f"u{at}" for at in range(10)]
    frame = pd.DataFrame({"user_id": users, "label": LABELS, "pd": PDS, "payments": 30})
    found = performance("ten", frame)
    assert all(found[name] for name in PARTS)
    none = performance("ten", frame.assign(label=0.0))
    assert not any(none[name] for name in PARTS) and none["warnings"]

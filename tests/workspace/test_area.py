"""Areas as text: there and back, and what is no area."""

from __future__ import annotations

import pytest

from lbsf_core.errors import LbsfError
from lbsf_core.workspace.area import CORNERS, area_of, text_of


def test_there_and_back() -> None:
    assert area_of("-1,0 2,0 0.5,3") == ((-1.0, 0.0), (2.0, 0.0), (0.5, 3.0))
    assert text_of([-1.0, 2.0, 0.5], [0.0, 0.0, 3.0]) == "-1,0 2,0 0.5,3"
    by_hand = [float(at) for at in range(500)]
    assert len(area_of(text_of(by_hand, by_hand))) <= CORNERS


@pytest.mark.parametrize("text", ["", "1,2", "1,2 3,4", "a,b c,d e,f", "1 2 3", "1,2,3 4,5 6,7"])
def test_what_is_no_area(text: str) -> None:
    with pytest.raises(LbsfError, match="area"):
        area_of(text)

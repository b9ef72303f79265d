"""An area on the map of samples, as a link carries it: corners one after another."""

from __future__ import annotations

from collections.abc import Sequence

from lbsf_core.errors import LbsfError

Area = tuple[tuple[float, float], ...]

#: Corners of an area; of a line drawn by hand some are left out.
CORNERS = 40


def area_of(text: str) -> Area:
    """The area that a text names, as `1.2,3 4,5.5 0,0`: x and y of three corners or more.

    Raises:
        LbsfError: it names none.
    """
    try:
        corners = tuple(
            (float(x), float(y)) for x, y in (corner.split(",") for corner in text.split())
        )
    except ValueError as error:
        raise LbsfError(
            f"'{text[:60]}' is no area: write its corners as x,y with spaces between, as in "
            "`-1,0 2,0 0.5,3`."
        ) from error
    if not 3 <= len(corners) <= 4 * CORNERS:
        raise LbsfError(f"An area has 3 to {4 * CORNERS} corners; this one has {len(corners)}.")
    return corners


def text_of(x: Sequence[float], y: Sequence[float]) -> str:
    """The same the other way round, with at most `CORNERS` of a line drawn by hand."""
    step = -(-len(x) // CORNERS) or 1
    pairs = zip(x[::step], y[::step], strict=True)
    return " ".join(f"{a:.3g},{b:.3g}" for a, b in pairs)

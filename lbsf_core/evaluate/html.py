"""A comparison as one HTML page that needs nothing beside it: tables, and charts as SVG."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Any

#: Colours of the drawn contestants, told apart by most colour-blind readers (Okabe and Ito).
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
_STYLE = """
body{font:15px/1.5 system-ui,sans-serif;max-width:1180px;margin:2rem auto;padding:0 1rem;
color:#1f2328;background:#fff}
table{border-collapse:collapse;margin:.5rem 0 1.5rem;font-variant-numeric:tabular-nums}
th,td{padding:.3rem .8rem;white-space:nowrap;vertical-align:top;text-align:right;
border-bottom:1px solid #d8dee4}
th:first-child,td:first-child{text-align:left;white-space:normal} small{color:#59636e}
td:first-child{max-width:22rem}
figure{display:inline-block;margin:0 1rem 1rem 0} figcaption{font-weight:600}
.note{background:#fff8e1;border-left:4px solid #e69f00;padding:.5rem 1rem}
"""


def page(report: dict[str, Any]) -> str:
    """The page of a report made by `comparison.compare` and `comparison.about`.

    Args:
        report: "about", and one entry a dataset and label.
    """
    about = report["about"]
    parts = [
        f"<h1>Comparison</h1><p>{escape(about['date'])}, code {escape(about['code'][:12])}, "
        f"{escape(str(about['machine'].get('cpu', '')))}, "
        f"{escape(str(about['machine'].get('cores', '')))} cores.</p>"
    ]
    if about.get("cpu_seconds"):
        parts.append(f"<p>{_cost(about['cpu_seconds'])}</p>")
    for entry in about["datasets"]:
        if entry.get("note"):
            parts.append(f"<p class=note>{escape(entry['name'])}: {escape(entry['note'])}</p>")
    parts.append("<h2>How it was measured</h2><ul>")
    parts += [f"<li>{escape(sentence)}</li>" for sentence in about["protocol"]]
    parts.append("</ul>")
    for name, found in report.items():
        if name != "about":
            parts += _section(name, found)
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Comparison</title>'
        f"<style>{_STYLE}</style></head><body>{''.join(parts)}</body></html>\n"
    )


def _cost(seconds: dict[str, dict[str, float]]) -> str:
    """Processor time of all runs, and of the dearest contestants."""
    by_name: dict[str, float] = {}
    for part in seconds.values():
        for name, value in part.items():
            by_name[name] = by_name.get(name, 0.0) + value
    dearest = sorted(by_name, key=lambda name: -by_name[name])[:5]
    told = ", ".join(f"{escape(name)} {by_name[name] / 60:.0f} min" for name in dearest)
    return (
        f"All runs took {sum(by_name.values()) / 3600:.1f} hours of one core's time; the most: "
        f"{told}. What contestants share counts for the first of them."
    )


def _section(name: str, found: dict[str, Any]) -> list[str]:
    contestants = sorted(found["contestants"].items(), key=lambda item: -item[1]["auc"])
    metrics = list(contestants[0][1]["metrics"])
    head = ["", "repeats", *metrics]
    names = {name: entry["about"] for name, entry in contestants}

    def rows(control: bool) -> list[list[Cell]]:
        return [
            [
                entry["about"],
                str(entry["repeats"]),
                *(_figure(entry["metrics"][m]) for m in metrics),
            ]
            for _, entry in contestants
            if entry["control"] == control
        ]

    parts = [
        f"<h2>{escape(name)}</h2><p>{found['samples']:,} samples of {found['users']:,} users, "
        f"{found['bad']:,} bad.</p>",
        "<h3>Contestants</h3>",
        _table(head, rows(False)),
        "<h3>Differences in AUC</h3>",
        _differences(found, names),
    ]
    if rows(True):
        parts += ["<h3>Controls: LBSF with something changed</h3>", _table(head, rows(True))]
    if later := found.get("out_of_time"):
        of_late = sorted(later["contestants"].items(), key=lambda item: -item[1]["auc"])
        parts += [
            "<h3>Out of time: early cutoffs train, the last one tests</h3>"
            f"<p>{later['samples']:,} samples, {later['bad']:,} bad.</p>",
            _table(
                ["", *metrics],
                [[e["about"], *(_figure(e["metrics"][m]) for m in metrics)] for _, e in of_late],
            ),
            _differences(later, {name: entry["about"] for name, entry in of_late}),
        ]
    drawn = list(found["curves"])
    parts.append("<h3>Curves</h3>" + _legend([names[name] for name in drawn]))
    for key, title, x, y in (
        ("roc", "ROC", "share of good declined", "share of bad found"),
        ("pr", "Precision and recall", "recall", "precision"),
        ("lift", "Lift", "share of samples, riskiest first", "times as many bad as by chance"),
    ):
        parts.append(_chart(title, x, y, [found["curves"][n][key] for n in drawn]))
    reliability = [[[b["pd"], b["rate"]] for b in found["curves"][n]["reliability"]] for n in drawn]
    parts.append(_chart("Reliability", "predicted PD", "observed rate", reliability, diagonal=True))
    parts.append("<h3>Slices</h3>")
    parts.append(
        _table(
            ["by", "slice", "samples", "bad", *(names[name] for name in drawn)],
            [
                [
                    s["by"],
                    s["slice"],
                    f"{s['samples']:,}",
                    f"{s['bad']:,}",
                    *(_figure(s["auc"][n], "auc") if "auc" in s else "too few" for n in drawn),
                ]
                for s in found["slices"]
            ],
        )
    )
    return parts


def _differences(found: dict[str, Any], names: dict[str, str]) -> str:
    return _table(
        ["", "difference", "95 % interval", "shown to be better"],
        [
            [
                " less ".join(names.get(name, name) for name in pair.split(" - ")),
                f"{d['auc']:+.3f}",
                f"{d['lo']:+.3f} to {d['hi']:+.3f}",
                "yes" if d["lo"] > 0 else "no",
            ]
            for pair, d in found["differences"].items()
        ],
    )


#: A cell: a text, or a figure with its interval on a second line.
Cell = str | tuple[str, str]


def _figure(metric: dict[str, float], key: str = "value") -> Cell:
    return f"{metric[key]:.3f}", f"{metric['lo']:.3f} to {metric['hi']:.3f}"


def _cell(cell: Cell) -> str:
    if isinstance(cell, str):
        return f"<td>{escape(cell)}</td>"
    return f"<td>{escape(cell[0])}<br><small>{escape(cell[1])}</small></td>"


def _table(head: Sequence[str], rows: Sequence[Sequence[Cell]]) -> str:
    top = "".join(f"<th>{escape(cell)}</th>" for cell in head)
    body = "".join("<tr>" + "".join(map(_cell, row)) + "</tr>" for row in rows)
    return f"<table><thead><tr>{top}</tr></thead><tbody>{body}</tbody></table>"


def _legend(names: Sequence[str]) -> str:
    items = [
        f'<span style="color:{COLOURS[i % len(COLOURS)]}">&#9632;</span> {escape(name)}&emsp;'
        for i, name in enumerate(names)
    ]
    return f"<p>{''.join(items)}</p>"


def _chart(
    title: str,
    x: str,
    y: str,
    lines: Sequence[Sequence[Sequence[float]]],
    *,
    diagonal: bool = False,
) -> str:
    """A line chart of 320 by 260 points."""
    width, height, left, bottom = 330, 270, 44, 40
    points = [point for line in lines for point in line]
    top_x = max((p[0] for p in points), default=1.0) or 1.0
    top_y = max((p[1] for p in points), default=1.0) or 1.0
    if diagonal:
        top_x = top_y = max(top_x, top_y)

    def at(point: Sequence[float]) -> str:
        across = left + point[0] / top_x * (width - left - 10)
        up = height - bottom - point[1] / top_y * (height - bottom - 14)
        return f"{across:.1f},{up:.1f}"

    drawn = [
        f'<polyline fill="none" stroke="{COLOURS[i % len(COLOURS)]}" stroke-width="1.6" '
        f'points="{" ".join(map(at, line))}"/>'
        for i, line in enumerate(lines)
    ]
    if diagonal:
        ends = f"{at((0, 0))} {at((top_x, top_y))}"
        drawn.append(f'<polyline fill="none" stroke="#888" stroke-dasharray="4" points="{ends}"/>')
    corner, right, up = at((0, 0)), at((top_x, 0)), at((0, top_y))
    drawn.append(f'<polyline fill="none" stroke="#555" points="{up} {corner} {right}"/>')
    labels = (
        f'<text x="{left - 6}" y="18" text-anchor="end">{top_y:.2g}</text>'
        f'<text x="{width - 10}" y="{height - bottom + 14}" text-anchor="end">{top_x:.2g}</text>'
        f'<text x="{left}" y="{height - bottom + 14}">0</text>'
        f'<text x="{(width + left) / 2}" y="{height - 8}" text-anchor="middle">{escape(x)}</text>'
        f'<text x="12" y="{height / 2}" text-anchor="middle" '
        f'transform="rotate(-90 12 {height / 2})">{escape(y)}</text>'
    )
    return (
        f"<figure><figcaption>{escape(title)}</figcaption>"
        f'<svg role="img" aria-label="{escape(title)}" width="{width}" height="{height}" '
        f'font-size="11" font-family="system-ui,sans-serif">{"".join(drawn)}{labels}</svg></figure>'
    )

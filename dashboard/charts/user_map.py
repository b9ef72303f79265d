"""Samples where the model sees them: near is what it holds to be alike."""

from __future__ import annotations

import pandas as pd
import plotly.graph_objects as go

from dashboard.charts import style
from lbsf_core.workspace import SampleFilter


def user_map(samples: pd.DataFrame, areas: dict[str, SampleFilter]) -> go.Figure:
    """A dot a sample, coloured by PD, with the areas of the cohorts drawn on it.

    Args:
        samples: `Workspace.map`.
        areas: name of a cohort -> its filter; those without an area draw none.
    """
    figure = go.Figure()
    figure.add_scatter(  # not by the graphics card: many offices' browsers have none
        x=samples["x"].round(3),
        y=samples["y"].round(3),
        mode="markers",
        marker={
            "size": 5,
            "color": samples["pd"].round(4),
            "colorscale": "Cividis",
            "opacity": 0.75,
            "colorbar": {"title": {"text": "PD"}, "tickformat": ".0%", "thickness": 10},
        },
        customdata=[
            [style.hover_text(user), f"{pd_:.1%}", label]
            for user, pd_, label in zip(
                samples["user_id"], samples["pd"], samples["label"], strict=True
            )
        ],
        hovertemplate="<b>%{customdata[0]}</b><br>PD %{customdata[1]} · label %{customdata[2]}"
        "<extra></extra>",
        unselected={"marker": {"opacity": 0.75}},
        showlegend=False,
    )
    for (name, where), colour in zip(areas.items(), style.COHORTS, strict=False):
        if where.area:
            corners = [*where.area, where.area[0]]
            figure.add_scatter(
                x=[x for x, _ in corners],
                y=[y for _, y in corners],
                mode="lines",
                line={"color": colour, "width": 2},
                name=style.name(name),
                hoverinfo="skip",
            )
    figure.update_xaxes(title={"text": "first component"}, zeroline=False)
    figure.update_yaxes(title={"text": "second component"}, zeroline=False)
    style.finish(figure, height=460, legend=any(where.area for where in areas.values()))
    return figure.update_layout(dragmode="lasso")

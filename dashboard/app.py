"""The dashboard's entry: page settings and navigation, nothing else."""

import streamlit as st

from dashboard import warm
from dashboard.scripts import ICON_ADDRESS

# A file of ours: Streamlit fetches icons given by name from a font server.
st.set_page_config(page_title="LBSF", page_icon=ICON_ADDRESS, layout="wide")
warm.imports()

from dashboard.components import shell  # noqa: E402 - only now are its imports safe

first = st.Page(
    "app_pages/portfolio.py",
    title="Portfolio",
    icon=":material/list_alt:",
    default=True,
    help="The queue of scored users, the score distribution and the approval threshold.",
)
page = st.navigation(
    [
        first,
        st.Page(
            "app_pages/user.py",
            title="User",
            icon=":material/person_search:",
            help="One user's payments, folded by merchant, with the explanation on them.",
        ),
        st.Page(
            "app_pages/cohorts.py",
            title="Cohorts",
            icon=":material/compare:",
            help="Two groups of users side by side.",
        ),
        st.Page(
            "app_pages/model.py",
            title="Model",
            icon=":material/monitoring:",
            help="How well the scores rank, how true they are, and the model's card.",
        ),
    ],
    position="top",
)
if page is not first:
    warm.drawing()
with shell.guarded():
    page.run()
warm.page_ran()

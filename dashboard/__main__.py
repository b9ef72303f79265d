"""`python -m dashboard run asgi.py`: Streamlit's own command, set up first."""

import gc

gc.disable()  # until the first page can be shown: `warm.loading` says why, and enables it again

from streamlit.web.cli import main  # noqa: E402

from dashboard.quick import quick_start  # noqa: E402

if __name__ == "__main__":
    quick_start()
    main(prog_name="streamlit")

"""`python -m dashboard run asgi.py`: Streamlit's own command, set up first."""

import gc
import sys

gc.disable()  # until the first page can be shown: `warm.loading` says why, and enables it again

from dashboard import porch  # noqa: E402 - what it imports, the server needs too

if __name__ == "__main__":
    porch.build()

sys.modules["plotly"] = None  # type: ignore[assignment]  # `quick.theme_charts` says why
from streamlit.web.cli import main  # noqa: E402

del sys.modules["plotly"]

from dashboard.quick import quick_start  # noqa: E402

if __name__ == "__main__":
    quick_start()
    main(prog_name="streamlit")

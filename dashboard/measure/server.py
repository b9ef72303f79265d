"""The server's part of opening a user: the page's script run without a browser.

As JSON on standard output: `python -m dashboard.measure.server WORKSPACE USER...`. A process of its
own, so that caches are those of a server that has warmed up and has not seen these users.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path

APP = Path(__file__).resolve().parents[1] / "app.py"


def times(workspace: Path, users: list[str]) -> list[float]:
    """Seconds that the user page's script takes for each user, seen for the first time."""
    from streamlit.testing.v1 import AppTest

    from dashboard import state, warm

    os.environ[state.WORKSPACE_ENV] = str(workspace)
    warm.page_ran()  # nobody is served who would have to wait
    state.warm_up()
    page = AppTest.from_file(str(APP), default_timeout=60)
    page.run()
    page.switch_page("app_pages/user.py")
    page.query_params["user"] = users[0]
    page.run()
    found = []
    for user in users[1:]:
        page.text_input(key="user").set_value(user)
        began = time.perf_counter()
        page.run()
        found.append(time.perf_counter() - began)
    return found


if __name__ == "__main__":
    print(json.dumps(times(Path(sys.argv[1]), sys.argv[2:])))

"""Is a workspace's file what was written? Asked of each file before it is first read."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from pathlib import Path

from lbsf_core.errors import WorkspaceError
from lbsf_core.files import check_hashes

AGAIN = "Make the workspace again with `lbsf workspace`."


class Checked:
    """Compares a file with its SHA-256 once, the first time that somebody is about to read it.

    A server reads all bytes of a workspace sooner or later, and nobody needs to wait for those that
    the first page does not show. Safe to use from several threads.

    Args:
        folder: of the workspace.
        files: name -> SHA-256 of those that are still to be compared.
    """

    def __init__(self, folder: Path, files: Mapping[str, str]) -> None:
        self.folder, self._left = folder, dict(files)
        self._lock = threading.Lock()

    def path(self, name: str) -> Path:
        """Where a file lies, to read it.

        Raises:
            WorkspaceError: its bytes are not those that were written.
        """
        if name in self._left:
            with self._lock:
                if name in self._left:
                    one = {name: self._left[name]}
                    check_hashes(self.folder, one, WorkspaceError, AGAIN)
                    del self._left[name]
        return self.folder / name

    def all(self, go_on: Callable[[], bool] = lambda: True) -> None:
        """Compare every file that is left now.

        Args:
            go_on: asked before each, which may wait; the rest is left where it says no.

        Raises:
            WorkspaceError: as `path`.
        """
        for name in list(self._left):
            if not go_on():
                return
            self.path(name)

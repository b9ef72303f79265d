"""Errors that a user of lbsf can act on: what was wrong, where, and what to do next."""


class LbsfError(Exception):
    """Base of every error that lbsf raises on purpose.

    The command line prints the message without a traceback and exits with `exit_code`.
    """

    exit_code = 2


class IngestError(LbsfError):
    """Raw files or a mapping can't be turned into payments or labels."""


class StoreError(LbsfError):
    """A folded store is damaged, of another schema version, or asked for what it does not hold."""


class BundleError(LbsfError):
    """A bundle is damaged, unsafe, or of another schema version."""


class WorkspaceError(LbsfError):
    """A workspace is damaged, incomplete, or of another schema version."""


class AttributionsError(LbsfError):
    """Kept attributions are missing, or belong to another store or bundle."""


class UnknownUserError(LbsfError):
    """The user (or the user at that cutoff) is not in the store."""


class EditError(LbsfError, ValueError):
    """A what-if edit makes no sense, or names what the sample does not hold."""


class DossierError(LbsfError):
    """A dossier is none, was changed, or belongs to other payments or another model."""


class BatchError(LbsfError, ValueError):
    """A folded batch breaks one of its invariants."""


class MetricError(LbsfError, ValueError):
    """A metric can't be computed on these labels."""

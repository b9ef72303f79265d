"""lbsf_core: payments in, explained scores out.

The way of a payment: raw file -> payments -> fold -> model -> score -> explain -> workspace.
"""

__version__ = "0.1.0"

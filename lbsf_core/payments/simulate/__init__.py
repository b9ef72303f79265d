"""Simulated payments with known causes, for demos, tests of planted causes and load (issue 2)."""

from lbsf_core.payments.simulate.write import SimulationSummary, simulate

__all__ = ["SimulationSummary", "simulate"]

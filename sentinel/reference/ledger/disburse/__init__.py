"""Paying out: hands disbursements to a bank's rail and does on the ledger what the rail says."""

from sentinel.reference.ledger.disburse.disburser import Disburser, DisburserConfig
from sentinel.reference.ledger.disburse.rail import Rail, RailAnswer, RailConfig, RailPayment
from sentinel.reference.ledger.disburse.simulated import SimulatedRail, SimulatedRailConfig

__all__ = [
    "Disburser",
    "DisburserConfig",
    "Rail",
    "RailAnswer",
    "RailConfig",
    "RailPayment",
    "SimulatedRail",
    "SimulatedRailConfig",
]

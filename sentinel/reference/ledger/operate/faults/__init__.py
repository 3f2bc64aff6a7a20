"""What can be broken in a running ledger, on purpose and on record."""

from sentinel.reference.ledger.operate.faults.catalogue import FAULTS
from sentinel.reference.ledger.operate.faults.detached import hold_detached
from sentinel.reference.ledger.operate.faults.fault import ExpectedSignal, Fault, FaultConfig
from sentinel.reference.ledger.operate.faults.listing import listed
from sentinel.reference.ledger.operate.faults.running import run_fault
from sentinel.reference.ledger.operate.faults.stopping import stop_faults
from sentinel.reference.ledger.operate.faults.weights import WEIGHTS, Weight, weight_of

__all__ = [
    "FAULTS",
    "WEIGHTS",
    "ExpectedSignal",
    "Fault",
    "FaultConfig",
    "Weight",
    "hold_detached",
    "listed",
    "run_fault",
    "stop_faults",
    "weight_of",
]

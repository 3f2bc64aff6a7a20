"""What can be broken in a running ledger, on purpose and on record."""

from sentinel.reference.ledger.operate.faults.catalogue import FAULTS
from sentinel.reference.ledger.operate.faults.fault import ExpectedSignal, Fault, FaultConfig
from sentinel.reference.ledger.operate.faults.running import listed, run_fault

__all__ = ["FAULTS", "ExpectedSignal", "Fault", "FaultConfig", "listed", "run_fault"]

"""NATS to samples: answers of the monitoring port, and advisories of JetStream."""

from sentinel.core.normalise.nats.advisories import (
    Advisory,
    AdvisoryKind,
    AdvisoryLog,
    read_advisory,
)
from sentinel.core.normalise.nats.monitoring import read_connz, read_healthz, read_jsz, read_varz
from sentinel.core.normalise.nats.points import STAGE_QUEUE
from sentinel.core.normalise.nats.readings import ServerReading, StreamPage, StreamReading
from sentinel.core.normalise.nats.samples import NatsLimits, NatsSamples, Reduced, ServerAnswer
from sentinel.core.normalise.nats.versions import is_safe, safe_minimum

__all__ = [
    "STAGE_QUEUE",
    "Advisory",
    "AdvisoryKind",
    "AdvisoryLog",
    "NatsLimits",
    "NatsSamples",
    "Reduced",
    "ServerAnswer",
    "ServerReading",
    "StreamPage",
    "StreamReading",
    "is_safe",
    "read_advisory",
    "read_connz",
    "read_healthz",
    "read_jsz",
    "read_varz",
    "safe_minimum",
]

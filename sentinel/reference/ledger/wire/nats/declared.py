"""The streams, as the server is told to keep them.

`LEDGER_C0` and its like are work queues: an acknowledged message leaves them, so what they hold is the backlog, and
`discard new` turns a full stream into back-pressure at the edge instead of loss. De-duplication by
Nats-Msg-Id is only a window and ignores content; the database's key is the guarantee.
"""

from __future__ import annotations

from typing import Final

from nats.js.api import DiscardPolicy, RetentionPolicy, StorageType, StreamConfig

from sentinel.reference.ledger.domain.tenant import COHORTS_COUNT
from sentinel.reference.ledger.wire.config import NatsConfig
from sentinel.reference.ledger.wire.events import EVENTS_STREAM, EVENTS_SUBJECTS

DEAD_STREAM: Final = "LEDGER_DEAD"
CONSUMER: Final = "poster"
DEAD_SUBJECTS: Final = "ledger.dead.>"
_DEAD_BYTES_MAX: Final = 64 * 1024 * 1024
# What a server takes unless it is told otherwise: a batch is one message.
MESSAGE_BYTES_MAX: Final = 1024 * 1024
_EVENTS_BYTES_MAX: Final = 256 * 1024 * 1024
_EVENTS_AGE_MAX_S: Final = 7 * 86_400.0


def declared_streams(config: NatsConfig) -> tuple[StreamConfig, ...]:
    """Return all of them, within the limits of this configuration."""
    return (
        *(
            StreamConfig(
                name=stream_name(cohort),
                subjects=[subjects_of(cohort)],
                retention=RetentionPolicy.WORK_QUEUE,
                discard=DiscardPolicy.NEW,
                storage=StorageType.FILE,
                max_bytes=config.stream_bytes_max,
                max_msg_size=MESSAGE_BYTES_MAX,
                duplicate_window=config.duplicate_window_s,
                num_replicas=config.stream_replicas_count,
            )
            for cohort in range(COHORTS_COUNT)
        ),
        StreamConfig(
            name=DEAD_STREAM,
            subjects=[DEAD_SUBJECTS],
            discard=DiscardPolicy.NEW,
            storage=StorageType.FILE,
            max_bytes=_DEAD_BYTES_MAX,
            num_replicas=config.stream_replicas_count,
        ),
        # Old events give way to new ones: nobody who reads slowly, or not at all, stops the ledger.
        StreamConfig(
            name=EVENTS_STREAM,
            subjects=[EVENTS_SUBJECTS],
            retention=RetentionPolicy.LIMITS,
            discard=DiscardPolicy.OLD,
            storage=StorageType.FILE,
            max_bytes=_EVENTS_BYTES_MAX,
            max_age=_EVENTS_AGE_MAX_S,
            duplicate_window=config.duplicate_window_s,
            num_replicas=config.stream_replicas_count,
        ),
    )


def stream_name(cohort: int) -> str:
    """Return the stream that keeps a cohort's requests until they are decided."""
    return f"LEDGER_C{cohort}"


STREAMS: Final = tuple(stream_name(cohort) for cohort in range(COHORTS_COUNT))


def subjects_of(cohort: int) -> str:
    """Return what a cohort's stream keeps."""
    return f"ledger.c{cohort}.transfers.>"

"""What would have been expected of each window of the past, handed on in slices of time to whoever writes it down."""

from sentinel.pipeline.past_verdicts.recorded import decide_recorded, recorded_from_ns
from sentinel.pipeline.past_verdicts.slices import SliceCutter, SliceSink
from sentinel.pipeline.past_verdicts.spool import SliceSpool
from sentinel.pipeline.past_verdicts.unrecorded import Judged, Judging, judge_unrecorded

__all__ = [
    "Judged",
    "Judging",
    "SliceCutter",
    "SliceSink",
    "SliceSpool",
    "decide_recorded",
    "judge_unrecorded",
    "recorded_from_ns",
]

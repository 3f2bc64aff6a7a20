"""Wire shape to SampleBatch."""

from sentinel.core.normalise.otlp_decoder import OtlpDecoder
from sentinel.core.normalise.otlp_metrics import DecodeSettings
from sentinel.core.normalise.otlp_schema import require_fast_protobuf

__all__ = ["DecodeSettings", "OtlpDecoder", "require_fast_protobuf"]

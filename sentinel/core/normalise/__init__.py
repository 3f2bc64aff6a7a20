"""Wire shape to SampleBatch."""

from sentinel.core.normalise.otlp_decoder import OtlpDecoder
from sentinel.core.normalise.otlp_schema import require_fast_protobuf

__all__ = ["OtlpDecoder", "require_fast_protobuf"]

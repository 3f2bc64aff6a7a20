"""OTLP bodies of all signals and both encodings to batches: what a receiver holds."""

from __future__ import annotations

from sentinel.core.model import SampleBatch
from sentinel.core.normalise import otlp_elements, otlp_json
from sentinel.core.normalise.otlp_logs import LogsDecoder
from sentinel.core.normalise.otlp_metrics import MetricsDecoder
from sentinel.core.normalise.otlp_schema import require_fast_protobuf
from sentinel.core.normalise.otlp_traces import TracesDecoder
from sentinel.errors import UnsupportedInputError


class OtlpDecoder:
    """Decodes requests of every signal; holds bounded caches, so use one at a time per thread.

    Every method raises `MalformedInputError` for what cannot be decoded and `InputTooLargeError` for what would grow
    too large, and nothing else; samples that are wrong alone are counted in the batch's `rejected`.
    """

    def __init__(self) -> None:
        require_fast_protobuf()
        self._traces = TracesDecoder()
        self._metrics = MetricsDecoder()
        self._logs = LogsDecoder()

    def decode(self, signal: str, encoding: str, body: bytes, *, now_ns: int) -> SampleBatch:
        """The batch of one request; calls of spans are rows, to be made columns together with those of others.

        Args:
            signal: `traces`, `metrics` or `logs`.
            encoding: its media type, `application/x-protobuf` or `application/json`.
            body: the request, decompressed.
            now_ns: when it was received.
        """
        is_json = encoding.endswith("json")
        if signal == "traces":
            return self._trace_rows(body, now_ns=now_ns, is_json=is_json)
        if signal == "metrics":
            return self.decode_metrics(body, now_ns=now_ns, is_json=is_json)
        if signal == "logs":
            return self.decode_logs(body, now_ns=now_ns, is_json=is_json)
        msg = f"there is no signal {signal!r}"
        raise UnsupportedInputError(msg)

    def decode_traces(self, body: bytes, *, now_ns: int, is_json: bool = False) -> SampleBatch:
        """The calls of an ExportTraceServiceRequest, as columns."""
        return self._trace_rows(body, now_ns=now_ns, is_json=is_json).in_columns(now_ns=now_ns)

    def _trace_rows(self, body: bytes, *, now_ns: int, is_json: bool) -> SampleBatch:
        if is_json:
            return self._traces.decode_message(otlp_json.traces_message(body), now_ns=now_ns)
        otlp_elements.refuse_amplification(body, otlp_elements.TRACES)
        return self._traces.decode(body, now_ns=now_ns)

    def decode_metrics(self, body: bytes, *, now_ns: int, is_json: bool = False) -> SampleBatch:
        """The points of an ExportMetricsServiceRequest."""
        if is_json:
            return self._metrics.decode_message(otlp_json.metrics_message(body), now_ns=now_ns)
        otlp_elements.refuse_amplification(body, otlp_elements.METRICS)
        return self._metrics.decode(body, now_ns=now_ns)

    def decode_logs(self, body: bytes, *, now_ns: int, is_json: bool = False) -> SampleBatch:
        """The records of an ExportLogsServiceRequest."""
        if is_json:
            return self._logs.decode_message(otlp_json.logs_message(body), now_ns=now_ns)
        otlp_elements.refuse_amplification(body, otlp_elements.LOGS)
        return self._logs.decode(body, now_ns=now_ns)

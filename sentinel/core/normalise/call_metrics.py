"""The metrics that measure the durations of calls: where those calls were, and whether they failed.

| metric (older name) | stage | failed |
|---|---|---|
| http.server.request.duration (http.server.duration) | edge | status code 500 or more, or an error.type that is no status code |
| http.client.request.duration (http.client.duration) | client | status code 400 or more, or an error.type |
| rpc.server.call.duration (rpc.server.duration) | edge | a gRPC status that is the server's fault, or an error.type |
| rpc.client.call.duration (rpc.client.duration) | client | any gRPC status but OK, or an error.type |
| db.client.operation.duration | database | an error.type |
| messaging.client.operation.duration (messaging.publish.duration, messaging.receive.duration) | queue; consumer when it receives or settles | an error.type |
| messaging.process.duration (messaging.deliver.duration) | consumer | an error.type |

Routes and stages are those of the spans of the same calls (`span_rules`). A sender in transition sends the older and the
newer name of one metric; `newer_name` tells, so that calls are not counted twice.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from sentinel.core.model import Scope
from sentinel.core.normalise import span_rules

_OK = ("", "0", "OK")
_SERVER_FAULTS = frozenset(
    (
        *("2", "4", "12", "13", "14", "15"),
        *("UNKNOWN", "DEADLINE_EXCEEDED", "UNIMPLEMENTED", "INTERNAL", "UNAVAILABLE", "DATA_LOSS"),
    )
)
_GRPC_STATUS = ("rpc.response.status_code", "rpc.grpc.status_code")
_RPC_ERROR = ("rpc.connect_rpc.error_code", "rpc.jsonrpc.error_code")
_SERVER_ERROR_MIN = 500
_CLIENT_ERROR_MIN = 400


@dataclass(frozen=True, slots=True, kw_only=True)
class CallMetric:
    """One metric that measures calls.

    Attributes:
        kind: of the spans of the same calls.
        protocol: `http`, `rpc`, `db` or `messaging`.
        unit: when it names none.
        operation: of a messaging metric that does not say its own.
        newer_name: the metric that tells of the same calls since, or "".
    """

    kind: int
    protocol: str
    unit: bytes = b"s"
    operation: str = ""
    newer_name: str = ""

    def scope_of(self, service: str, attributes: Mapping[str, str]) -> Scope:
        """The place of calls with these attributes."""
        given = dict(attributes)
        kind, name = self.kind, ""
        if self.protocol == "http":
            name = span_rules.method_of(given)
        elif self.protocol == "db":
            # All that is known may be the system; without one it would not even be a database.
            system = given.setdefault("db.system.name", given.get("db.system") or "database")
            name = given.get("db.operation.name") or given.get("db.operation") or system
        elif self.protocol == "messaging":
            if "messaging.operation" not in given:
                given.setdefault("messaging.operation.name", self.operation)
            operation = given.get("messaging.operation.type") or given.get("messaging.operation")
            if operation in ("receive", "settle", "process", "deliver"):
                kind = span_rules.CONSUMER
        found = span_rules.scope_of(service, kind, name, given)
        assert found is not None, "every kind in the table makes series"
        return found

    def has_failed(self, attributes: Mapping[str, str]) -> bool:
        """Whether calls with these attributes failed."""
        error_type = attributes.get("error.type", "")
        is_server = self.kind == span_rules.SERVER
        if self.protocol == "http":
            # Some servers name every refusal as its error; one that the caller is to blame for is none of theirs.
            code = span_rules.status_code_of(attributes) or _whole(error_type)
            if code:
                return code >= (_SERVER_ERROR_MIN if is_server else _CLIENT_ERROR_MIN)
            return bool(error_type)
        if self.protocol == "rpc":
            status = next((attributes[key] for key in _GRPC_STATUS if key in attributes), "")
            if is_server and status:
                return status in _SERVER_FAULTS
            if status not in _OK or any(attributes.get(key, "") not in _OK for key in _RPC_ERROR):
                return True
        return bool(error_type)


def _whole(text: str) -> int:
    return int(text[:4]) if text.isascii() and text.isdigit() else 0


CALL_METRICS: Mapping[bytes, CallMetric] = {
    b"http.server.request.duration": CallMetric(kind=span_rules.SERVER, protocol="http"),
    b"http.server.duration": CallMetric(
        kind=span_rules.SERVER,
        protocol="http",
        unit=b"ms",
        newer_name="http.server.request.duration",
    ),
    b"http.client.request.duration": CallMetric(kind=span_rules.CLIENT, protocol="http"),
    b"http.client.duration": CallMetric(
        kind=span_rules.CLIENT,
        protocol="http",
        unit=b"ms",
        newer_name="http.client.request.duration",
    ),
    b"rpc.server.call.duration": CallMetric(kind=span_rules.SERVER, protocol="rpc"),
    b"rpc.server.duration": CallMetric(
        kind=span_rules.SERVER, protocol="rpc", unit=b"ms", newer_name="rpc.server.call.duration"
    ),
    b"rpc.client.call.duration": CallMetric(kind=span_rules.CLIENT, protocol="rpc"),
    b"rpc.client.duration": CallMetric(
        kind=span_rules.CLIENT, protocol="rpc", unit=b"ms", newer_name="rpc.client.call.duration"
    ),
    b"db.client.operation.duration": CallMetric(kind=span_rules.CLIENT, protocol="db"),
    b"messaging.client.operation.duration": CallMetric(
        kind=span_rules.PRODUCER, protocol="messaging", operation="send"
    ),
    b"messaging.process.duration": CallMetric(
        kind=span_rules.CONSUMER, protocol="messaging", operation="process"
    ),
    b"messaging.deliver.duration": CallMetric(
        kind=span_rules.CONSUMER,
        protocol="messaging",
        operation="process",
        newer_name="messaging.process.duration",
    ),
    b"messaging.publish.duration": CallMetric(
        kind=span_rules.PRODUCER,
        protocol="messaging",
        operation="publish",
        newer_name="messaging.client.operation.duration",
    ),
    b"messaging.receive.duration": CallMetric(
        kind=span_rules.CONSUMER,
        protocol="messaging",
        operation="receive",
        newer_name="messaging.client.operation.duration",
    ),
}

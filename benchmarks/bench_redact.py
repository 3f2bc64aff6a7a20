"""How many log records a second one core redacts.

Goal: 20,000 JSON records a second on one core, parsed, redacted and written again. Method: lines of some 370 bytes with
14 fields, every id, time and amount different, one in twenty with a secret in its message; once parsed and redacted field by
field, once as plain text, once as OTLP requests of 512 records; process CPU time, the median of several repetitions,
printed with the machine. Beside it, what reading and writing the JSON alone takes.
"""

from __future__ import annotations

import argparse
import random
import statistics
import time
from collections.abc import Callable

import orjson
from machine import describe
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest

from sentinel.core.normalise.otlp_rewrite import OtlpRewriter
from sentinel.core.redact import Redactor, redact_value
from sentinel.core.redact.otlp import OtlpRedactor

GOAL_PER_S = 20_000
SECRETS = (
    "card 4111 1111 1111 1111 declined",
    "mail to jane.doe@example.com bounced",
    "paid to DE89370400440532013000",
    "retry with Authorization: Bearer abc.def-0123456789",
    "login failed, password=hunter2",
)


def json_lines(seed: int, count: int) -> list[bytes]:
    """Lines as a service of a bank logs them."""
    rng = random.Random(seed)
    lines = []
    for number in range(count):
        message = f"posted transfer {rng.randrange(10**6)} of acme-{rng.randrange(10**6)} to acc-{rng.randrange(10**4)}"
        if number % 20 == 0:
            message = rng.choice(SECRETS)
        lines.append(
            orjson.dumps(
                {
                    "timestamp": f"2026-11-22T17:{rng.randrange(60):02}:{rng.randrange(60):02}.{rng.randrange(10**6):06}Z",
                    "level": rng.choice(("INFO", "INFO", "INFO", "WARN")),
                    "logger": "ledger.posting",
                    "service": "ledger",
                    "trace_id": f"{rng.getrandbits(128):032x}",
                    "span_id": f"{rng.getrandbits(64):016x}",
                    "msg": message,
                    "amount_minor": rng.randrange(10**7),
                    "currency": "EUR",
                    "duration_ms": round(rng.lognormvariate(2, 1), 3),
                    "route": rng.choice(("/v1/transfers", "/v1/accounts/{id}", "/v1/quotes")),
                    "status": rng.choice((200, 201, 404, 500)),
                    "host": f"ledger-7d9f8b6c5-x{rng.randrange(20)}",
                    "pid": rng.randrange(40_000),
                }
            )
        )
    return lines


def otlp_requests(lines: list[bytes]) -> list[bytes]:
    """The same records as an SDK sends them: the message as body, the other fields as attributes, 512 a request."""
    requests = []
    for start in range(0, len(lines), 512):
        request = ExportLogsServiceRequest()
        scope = request.resource_logs.add().scope_logs.add()
        for line in lines[start : start + 512]:
            record = scope.log_records.add(time_unix_nano=1, severity_number=9)
            for key, value in orjson.loads(line).items():
                if key == "msg":
                    record.body.string_value = value
                    continue
                pair = record.attributes.add(key=key)
                if isinstance(value, str):
                    pair.value.string_value = value
                elif isinstance(value, int):
                    pair.value.int_value = value
                else:
                    pair.value.double_value = value
        requests.append(request.SerializeToString())
    return requests


def measure(work: Callable[[], object], *, count: int, repeats: int) -> float:
    """Items a second of CPU time, the median."""
    rates = []
    for _ in range(repeats):
        start_s = time.process_time()
        work()
        rates.append(count / (time.process_time() - start_s))
    return statistics.median(rates)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--records", type=int, default=20_000)
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    lines = json_lines(1, options.records)
    texts = [line.decode() for line in lines]
    redactor = Redactor()

    def by_fields() -> None:
        for line in lines:
            orjson.dumps(redact_value(orjson.loads(line), redactor))

    def as_text() -> None:
        for text in texts:
            redactor.text(text)

    rewriter = OtlpRewriter(OtlpRedactor(redactor), keep_unknown=False)
    requests = otlp_requests(lines)

    def as_otlp() -> None:
        for request in requests:
            rewriter.logs(request)

    def json_alone() -> None:
        for line in lines:
            orjson.dumps(orjson.loads(line))

    print(describe())
    print(
        f"{options.records} records of {sum(map(len, lines)) // len(lines)} bytes, one in 20 with a secret"
    )
    for name, work in (
        ("JSON read and written, not redacted", json_alone),
        ("JSON read, redacted by fields, written", by_fields),
        ("the same lines redacted as plain text", as_text),
        ("the same records redacted as OTLP", as_otlp),
    ):
        rate = measure(work, count=len(lines), repeats=options.repeats)
        print(f"{name:<40} {rate:>10,.0f} records/s on a core   (goal {GOAL_PER_S:,})")


if __name__ == "__main__":
    main()

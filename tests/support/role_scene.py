"""A service's collector, its scorer and the injector as they run, for what boards show of them.

Processes of their own: the sidecars hear each other, and the injector has an API server whose pod lacks its sidecar, and reviews all the
time.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.support.api_server import api_server
from tests.support.injector import make_pod
from tests.support.injector_process import (
    InjectorProcess,
    injector_process,
    write_admission_config,
)
from tests.support.nats_servers import free_ports
from tests.support.role_processes import Traffic, collector_config, scorer_config
from tests.support.sidecar_process import sidecar_process

_REVIEW_S = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Roles:
    """Where each is scraped.

    Attributes:
        scorer_url, collector_url: of the sidecars' pages.
        injector_url: of the injector's.
    """

    scorer_url: str
    collector_url: str
    injector_url: str


@contextmanager
def role_scene(folder: Path) -> Iterator[Roles]:
    """All three; stopped at the end whatever happens."""
    with ExitStack() as stack:
        injector_url = stack.enter_context(_injector(folder / "injector"))
        # Nobody is paged: what it would tell goes to a port where nobody listens.
        port, nobodys = free_ports(2)
        hook = f"http://127.0.0.1:{nobodys}"
        scorer = stack.enter_context(
            sidecar_process(scorer_config(folder / "scorer", hook=hook, port=port))
        )
        collector = stack.enter_context(
            sidecar_process(
                collector_config(folder / "collector", "pay-1", url=f"http://127.0.0.1:{port}")
            )
        )
        traffic = Traffic()
        traffic.deal_to({"pay-1": collector})
        stack.enter_context(traffic.flowing())
        yield Roles(
            scorer_url=scorer.web_url,
            collector_url=collector.web_url,
            injector_url=injector_url,
        )


@contextmanager
def _injector(folder: Path) -> Iterator[str]:
    folder.mkdir(parents=True)
    with api_server(folder) as api:
        api.add_webhook(service="sentinel-admission", namespace="sentinel")
        api.pods = [{**make_pod(), "status": {"phase": "Running"}}]
        with injector_process(write_admission_config(folder, api)) as injector:
            end = threading.Event()
            thread = threading.Thread(target=_review, args=(injector, end))
            thread.start()
            try:
                yield injector.probes_url
            finally:
                end.set()
                thread.join(timeout=10)


def _review(injector: InjectorProcess, end: threading.Event) -> None:
    while not end.wait(_REVIEW_S):
        with contextlib.suppress(OSError):
            injector.review(make_pod())

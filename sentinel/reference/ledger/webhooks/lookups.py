"""Looking names up: the system's resolver, bounded by time and by tenant, and a judgement of what comes of it.

The system's resolver blocks its thread, for as long as whoever answers for a name likes, and nothing can interrupt it. So a
lookup that takes too long is waited for no more, and its thread stays its tenant's until it is done: names of one tenant that
do not resolve take that tenant's few places and nobody else's. The threads are no pool's: the interpreter would wait for those
at its end.
"""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import partial
from ipaddress import ip_address
from typing import Any, Final

from aiohttp.abc import AbstractResolver, ResolveResult

from sentinel.reference.ledger.domain.webhooks.addresses import AddressPolicy, judge_address

_TENANT: Final[ContextVar[str]] = ContextVar("tenant", default="")


@dataclass(frozen=True, slots=True, kw_only=True)
class LookupConfig:
    """How many lookups at once, of all and of one tenant, and how long each is waited for, its place included."""

    count_max: int = 64
    tenant_count_max: int = 2
    wait_s: float = 5.0

    def __post_init__(self) -> None:
        """Refuse limits that cannot work."""
        if not 1 <= self.tenant_count_max <= self.count_max or self.wait_s <= 0:
            message = "tenant_count_max must be from 1 to count_max, and wait_s above 0"
            raise ValueError(message)


@dataclass(slots=True)
class _Places:
    """A tenant's places, and how many lookups hold or want one."""

    free: asyncio.Semaphore
    users: set[object] = field(default_factory=set)


class Lookups:
    """Lookups that are under way, each in a thread of its own."""

    def __init__(self, config: LookupConfig) -> None:
        self._config = config
        self._free = asyncio.Semaphore(config.count_max)
        self._tenants: dict[str, _Places] = {}
        self._under_way: set[object] = set()

    @property
    def under_way_count(self) -> int:
        """Threads that look a name up, those included that nobody waits for any more."""
        return len(self._under_way)

    async def find(self, tenant: str, look_up: Callable[[], Any]) -> Any:
        """Return what `look_up` returns, which is run in a thread.

        Raises:
            OSError: it failed, or took too long, or there was no place for it in time.
        """
        try:
            async with asyncio.timeout(self._config.wait_s):
                return await (await self._begin(tenant, look_up))
        except TimeoutError:
            raise socket.gaierror(
                socket.EAI_AGAIN, f"no answer within {self._config.wait_s} s"
            ) from None

    async def _begin(self, tenant: str, look_up: Callable[[], Any]) -> asyncio.Future[Any]:
        lookup = object()
        places = self._tenants.setdefault(
            tenant, _Places(asyncio.Semaphore(self._config.tenant_count_max))
        )
        places.users.add(lookup)
        try:
            # One's own place first: whoever waits for it takes nobody another.
            await places.free.acquire()
            try:
                await self._free.acquire()
            except BaseException:
                places.free.release()
                raise
        except BaseException:
            self._leave(tenant, lookup)
            raise
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[Any] = loop.create_future()
        self._under_way.add(lookup)

        def ended(found: Any, failure: BaseException | None) -> None:
            self._under_way.discard(lookup)
            self._free.release()
            places.free.release()
            self._leave(tenant, lookup)
            if answer.done():
                return
            if failure is None:
                answer.set_result(found)
            else:
                answer.set_exception(failure)

        def run() -> None:
            found, failure = None, None
            try:
                found = look_up()
            except Exception as error:  # noqa: BLE001 - it is the waiting task's
                failure = error
            with suppress(RuntimeError):  # the loop was closed: nobody waits
                loop.call_soon_threadsafe(ended, found, failure)

        try:
            threading.Thread(target=run, name="webhook-lookup", daemon=True).start()
        except RuntimeError as error:
            ended(None, OSError(f"no thread: {error}"))
        return answer

    def _leave(self, tenant: str, lookup: object) -> None:
        places = self._tenants[tenant]
        places.users.discard(lookup)
        if not places.users:
            del self._tenants[tenant]


@contextmanager
def on_behalf_of(tenant: str) -> Iterator[None]:
    """Have lookups of this task, and of those that it begins, be the tenant's."""
    token = _TENANT.set(tenant)
    try:
        yield
    finally:
        _TENANT.reset(token)


class GuardedResolver(AbstractResolver):
    """Resolves names by the system's resolver and judges what comes of it.

    One address that is refused refuses the name: a name that mixes inside and outside is not one to pick from.
    """

    def __init__(self, policy: AddressPolicy, lookups: Lookups) -> None:
        self._policy = policy
        self._lookups = lookups

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """Return the addresses of a name, all of which may be connected to.

        Raises:
            RefusedAddressError: one of them may not.
            OSError: there are none, or not in time.
        """
        found = await self._lookups.find(
            _TENANT.get(),
            partial(
                socket.getaddrinfo,
                host,
                port,
                family=family,
                type=socket.SOCK_STREAM,
                flags=socket.AI_ADDRCONFIG,
            ),
        )
        results: list[ResolveResult] = []
        for kind, _, proto, _, address in found:
            text = str(address[0])
            judge_address(ip_address(text), self._policy)
            results.append(
                ResolveResult(
                    hostname=host,
                    host=text,
                    port=port,
                    family=kind,
                    proto=proto,
                    flags=socket.AI_NUMERICHOST | socket.AI_NUMERICSERV,
                )
            )
        return results

    async def close(self) -> None:
        """Do nothing: there is nothing to close."""

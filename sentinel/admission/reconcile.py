"""The look for pods that should have a sidecar and do not: a webhook that may fail open needs one who notices.

All pods are listed page by page, counted, and forgotten; what is kept between looks is a number for each namespace. Nothing
is changed: a pod gets its sidecar when it is made anew, and whether that may happen now is its owner's to say. A look that
could not be ended changes no number, so that half a list never reads as a mended cluster; its age is a metric.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping

from sentinel.admission.cluster import Cluster, ClusterSession, decoded
from sentinel.admission.config import ReconcileConfig
from sentinel.admission.review import ReviewRules
from sentinel.admission.tally import LACKING, PodState, Tally
from sentinel.errors import (
    InputTooLargeError,
    MalformedInputError,
    RefusedError,
    SentinelError,
    UnreachableError,
)
from sentinel.runtime.component import Health, HealthRecord, Surroundings
from sentinel.runtime.tasks import TaskGroup

_PATH = "/api/v1/pods"
_ENDED = "status.phase!=Succeeded,status.phase!=Failed"
_GONE = 410
_REFUSALS = {
    401: "the API server does not know the service account's token: ",
    403: "the service account has no right to list the pods of all namespaces, which a ClusterRole with the verb list has to give: ",
}
_PAGE_COUNT_MIN = 10
_PAGES_MAX = 10_000


class Reconciler:
    """The component `admission.reconcile`.

    Args:
        config: how often, and within which bounds.
        cluster: the API server.
        rules: what reviews are answered by, asked at each page.
        surroundings: clock, metrics and log.
    """

    def __init__(
        self,
        config: ReconcileConfig,
        cluster: Cluster,
        rules: Callable[[], ReviewRules],
        surroundings: Surroundings,
    ) -> None:
        self._config = config
        self._cluster = cluster
        self._rules = rules
        self._surroundings = surroundings
        self._health = HealthRecord(surroundings.clock, "No look was taken yet")
        self._tasks = TaskGroup(
            self.name, metrics=surroundings.metrics, logger=surroundings.logger
        )
        self._shown: set[str] = set()
        self._page_count = config.page_count
        self._told: frozenset[str] = frozenset()

    @property
    def name(self) -> str:
        """Unique name of the component."""
        return "admission.reconcile"

    async def start(self) -> None:
        """Begin to look; what the first look finds is not waited for."""
        self._health.ok("The first look is under way")
        self._surroundings.metrics.set(
            "sentinel_admission_reconcile_timestamp_seconds",
            self._surroundings.clock.now_ns() / 1e9,
        )
        self._tasks.spawn("look", self._follow)

    async def stop(self) -> None:
        """Look no more; idempotent."""
        await self._tasks.close()
        self._health.failing("Stopped")

    def health(self) -> Health:
        """Degraded while pods cannot be listed. That pods lack their sidecar is no fault of this component: see the metric."""
        return self._health.current

    async def look(self) -> bool:
        """Look once at all pods; False when that could not be ended."""
        clock, metrics = self._surroundings.clock, self._surroundings.metrics
        started_s = clock.monotonic_s()
        try:
            async with asyncio.timeout(self._config.timeout):
                tally = await self._listed()
        except TimeoutError:
            self._failed("late", f"not all pods were listed within {self._config.timeout:g} s")
            return False
        except RefusedError as error:
            self._failed("refused", f"{_REFUSALS.get(error.status, '')}{error}")
            return False
        except UnreachableError as error:
            self._failed("unreachable", str(error))
            return False
        except SentinelError as error:
            self._failed("malformed", str(error))
            return False
        metrics.count("sentinel_admission_reconciles_total", result="done")
        metrics.set("sentinel_admission_reconcile_timestamp_seconds", clock.now_ns() / 1e9)
        metrics.set("sentinel_admission_reconcile_seconds", clock.monotonic_s() - started_s)
        self._show(tally)
        self._tell(tally)
        return True

    async def _follow(self) -> None:
        while True:
            await self.look()
            await self._surroundings.clock.sleep(self._config.interval)

    async def _listed(self) -> Tally:
        """All pods, counted; listed anew, once, when the API server forgot where we were."""
        async with self._cluster.session() as session:
            try:
                return await self._pages(session)
            except RefusedError as error:
                if error.status != _GONE:
                    raise
            return await self._pages(session)

    async def _pages(self, session: ClusterSession) -> Tally:
        tally = Tally()
        onward = ""
        for _ in range(_PAGES_MAX):
            body = await self._page(session, onward)
            # Beside the loop: a page of a large cluster takes as long as many reviews.
            onward = await asyncio.to_thread(_count, body, tally, self._rules())
            if not onward:
                return tally
        msg = f"the list of pods has more than {_PAGES_MAX} pages"
        raise MalformedInputError(msg)

    async def _page(self, session: ClusterSession, onward: str) -> bytes:
        """One page; a smaller one where the pods are so large that a usual one is over the bound."""
        while True:
            query = {"limit": str(self._page_count), "fieldSelector": _ENDED}
            if onward:
                query["continue"] = onward
            try:
                return await session.ask("GET", _PATH, query=query)
            except InputTooLargeError:
                if self._page_count <= _PAGE_COUNT_MIN:
                    raise
                self._page_count = max(_PAGE_COUNT_MIN, self._page_count // 2)

    def _show(self, tally: Tally) -> None:
        metrics = self._surroundings.metrics
        for state in PodState:
            metrics.set("sentinel_admission_pods", tally.states[state], state=state.value)
        lacking = tally.by_namespace(self._config.namespace_count_max)
        namespaces = {namespace for namespace, _ in lacking}
        for namespace in self._shown - namespaces:
            metrics.forget(namespace=namespace)
        for namespace in namespaces:
            for state in LACKING:
                metrics.set(
                    "sentinel_admission_pods_missing",
                    lacking.get((namespace, state), 0),
                    namespace=namespace,
                    reason=state.value,
                )
        self._shown = namespaces

    def _tell(self, tally: Tally) -> None:
        lacking_count = tally.lacking.total()
        self._health.ok(
            f"{tally.states.total()} of {tally.seen_count} pods ask for a sidecar; {lacking_count} lack it"
        )
        named = frozenset(tally.named)
        if named != self._told:
            self._told = named
            if named:
                self._surroundings.logger.warning(
                    "Pods run without the sidecar they ask for; they get it when they are made anew",
                    extra={"count": lacking_count, "pods": ", ".join(tally.named)},
                )
            else:
                self._surroundings.logger.info("Every pod that asks for a sidecar has it")

    def _failed(self, result: str, why: str) -> None:
        self._surroundings.metrics.count("sentinel_admission_reconciles_total", result=result)
        sentence = f"Pods cannot be listed: {why}"
        if self._health.current.sentence != sentence:
            self._surroundings.logger.warning(sentence)
        self._health.degraded(sentence)


def _count(body: bytes, tally: Tally, rules: ReviewRules) -> str:
    """Count the pods of one page; where the next begins, "" after the last."""
    page = decoded(body)
    items = page.get("items")
    if items is not None and not isinstance(items, list):
        msg = "the API server's list of pods is none"
        raise MalformedInputError(msg)
    tally.add(items or [], rules)
    metadata = page.get("metadata")
    onward = metadata.get("continue") if isinstance(metadata, Mapping) else None
    return onward if isinstance(onward, str) else ""

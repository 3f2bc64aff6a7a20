"""Wires the injector, top to bottom."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from sentinel import __version__
from sentinel.admission.certificates.watch import CertificateWatch
from sentinel.admission.cluster import Cluster
from sentinel.admission.config import AdmissionConfig, AuthorityConfig
from sentinel.admission.reconcile import Reconciler
from sentinel.admission.review import ReviewRules
from sentinel.admission.version import SidecarForm
from sentinel.admission.webhook import Webhook
from sentinel.app.admission.pages import Probes, render_error
from sentinel.app.lifecycle import Lifecycle
from sentinel.errors import ConfigError, ConfigProblem
from sentinel.runtime.component import Health, HealthStatus, Surroundings

if TYPE_CHECKING:
    from sentinel.admission.certificates.keeper import AuthorityKeeper

_START_LIMIT_S = 40.0
_STOP_LIMIT_S = 10.0


class Injector:
    """The wired injector: its components downstream first, and what they ask of one another.

    Args:
        config: as loaded; what may change without a restart is asked for each time, see `take`.
        surroundings: clock, metrics and log.
        environment: where a pod is told of its cluster.

    Raises:
        ConfigError: the API server's address is of no use.
    """

    def __init__(
        self,
        config: AdmissionConfig,
        surroundings: Surroundings,
        environment: Mapping[str, str],
    ) -> None:
        self.config = config
        self.surroundings = surroundings
        self._is_stopping = False
        cluster = Cluster(config.cluster, environment, clock=surroundings.clock)
        self._own_namespace = cluster.namespace()
        self._form = SidecarForm(config.sidecar, cluster, surroundings)
        self._authority: AuthorityKeeper | None = None
        tls = config.tls
        if tls is None:
            assert config.authority is not None
            self._authority = _keeper(config.authority, cluster, surroundings)
            tls = self._authority.tls()
        self._rules = self._rules_of(config)
        self.webhook = Webhook(
            config.listen,
            tls,
            lambda: self.config.reviews,
            self.rules,
            surroundings,
            render_error=render_error,
        )
        self.probes = Probes(config.probes, self._waiting_for, surroundings)
        reconciler = Reconciler(config.reconcile, cluster, self.rules, surroundings)
        self.lifecycle = Lifecycle(
            [
                # First up and last down, so that probes see what the start waits for.
                self.probes,
                self._form,
                *([self._authority] if self._authority else []),
                CertificateWatch(
                    Path(tls.cert_file),
                    lambda: self.config.warn_before,
                    surroundings,
                    told_s=cluster.now_s,
                ),
                *([reconciler] if config.reconcile.enabled else []),
                self.webhook,
            ],
            metrics=surroundings.metrics,
            logger=surroundings.logger,
            start_timeout_s=_START_LIMIT_S,
            stop_timeout_s=_STOP_LIMIT_S,
        )

    async def start(self) -> None:
        """Start everything; raises what stopped the start, after stopping what had started."""
        metrics = self.surroundings.metrics
        metrics.set("sentinel_admission_build_info", 1, version=__version__)
        metrics.set(
            "sentinel_admission_start_time_seconds", self.surroundings.clock.now_ns() / 1e9
        )
        await self.lifecycle.start()

    async def stop(self) -> None:
        """Be not ready for a while, in which reviews are answered still, then stop; never raises."""
        self._is_stopping = True
        await self.surroundings.clock.sleep(self.config.stop_delay)
        await self.lifecycle.stop()

    def take(self, config: AdmissionConfig) -> None:
        """Go by another configuration from the next review on, as far as that needs no restart."""
        self.config = config
        self._rules = self._rules_of(config)

    def rules(self) -> ReviewRules:
        """What reviews are answered by now."""
        wanted = self._form.kind
        known = self._rules.sidecar
        if wanted is not (known.kind if known else None):
            self._rules = self._rules_of(self.config)
        return self._rules

    def addresses(self) -> dict[str, str]:
        """Where it can be reached from this machine."""
        return {"webhook_url": self.webhook.url, "probes_url": self.probes.url}

    def _rules_of(self, config: AdmissionConfig) -> ReviewRules:
        kind = self._form.kind
        own = {self._own_namespace} if self._own_namespace else set()
        return ReviewRules(
            sidecar=None if kind is None else config.sidecar_config(kind),
            ignored_namespaces=frozenset(config.ignored_namespaces) | own,
        )

    def _waiting_for(self) -> dict[str, Health]:
        """What keeps a review from being answered as it should be; an API server that is away does not, later on."""
        if self._is_stopping:
            now_ns = self.surroundings.clock.now_ns()
            stopping = Health(
                status=HealthStatus.FAILING, sentence="Told to stop", since_ns=now_ns
            )
            return {"stopping": stopping}
        needed = {
            "admission.form": self._form.health(),
            "admission.webhook": self.webhook.health(),
        }
        if self._authority is not None:
            needed["admission.authority"] = self._authority.health()
        return {
            name: health
            for name, health in needed.items()
            if health.status is HealthStatus.FAILING
        }


def _keeper(
    config: AuthorityConfig, cluster: Cluster, surroundings: Surroundings
) -> AuthorityKeeper:
    """The keeper of an authority, whose library is there only where somebody wants one."""
    try:
        from sentinel.admission.certificates.keeper import AuthorityKeeper
    except ModuleNotFoundError as error:
        message = f"needs the package {error.name}: install sentinel-sidecar[admission]"
        raise ConfigError([ConfigProblem(path="authority", message=message)]) from None
    return AuthorityKeeper(config, cluster, surroundings)

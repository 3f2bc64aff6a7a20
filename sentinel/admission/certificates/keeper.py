"""Keeps the webhook's own authority: makes it, renews it, has it trusted, and only then serves with it.

    kept there and good? ── no ──► issue ──► write ──► trusted? ──► put in service
              └──────────── yes ─────────────────────────┘

A certificate that API servers do not trust yet would fail every review, so one in service stays until its successor is
trusted. Where nothing is in service, a certificate that nobody could be told of is better than none: somebody else may
tell them. What is kept is never lost to an error: without an answer, what is in service goes on being served.

The time is the API server's, as soon as it has answered once: it is who finds a certificate ended, or not begun. A machine whose own clock
was set wrong would otherwise put such a certificate in the place of a good one, for all replicas.
"""

from __future__ import annotations

import asyncio
from pathlib import Path

from sentinel.admission.certificates.issue import KeyMaterial, Lifetimes, holds, issue, why_renew
from sentinel.admission.certificates.keeping import (
    FolderPlace,
    KeepingPlace,
    Kept,
    SecretPlace,
    TakenError,
    put_in_service,
    serving_files,
)
from sentinel.admission.certificates.trust import have_trusted
from sentinel.admission.cluster import Cluster
from sentinel.admission.config import AuthorityConfig
from sentinel.errors import (
    ConfigError,
    ConfigProblem,
    InputError,
    MalformedInputError,
    RefusedError,
    RetryableError,
    SentinelError,
)
from sentinel.runtime.backoff import Backoff
from sentinel.runtime.component import Health, HealthRecord, Surroundings
from sentinel.runtime.settings import Duration, FilePath
from sentinel.runtime.tasks import TaskGroup
from sentinel.runtime.tls import TlsConfig

_LOOK_EVERY_S = 30.0
_START_LIMIT_S = 25.0
_CLOCK_OFF_S = 120.0
"""From here on a clock is called wrong; whole seconds and the way of an answer are below it."""
_TRIES_MAX = 4
"""Replicas that start together write the Secret together; one of them wins each time."""


class AuthorityKeeper:
    """The component `admission.authority`.

    Args:
        config: what is kept where.
        cluster: the API server.
        surroundings: clock, metrics and log.
    """

    def __init__(
        self, config: AuthorityConfig, cluster: Cluster, surroundings: Surroundings
    ) -> None:
        self._config = config
        self._cluster = cluster
        self._surroundings = surroundings
        self._health = HealthRecord(surroundings.clock)
        self._tasks = TaskGroup(
            self.name, metrics=surroundings.metrics, logger=surroundings.logger
        )
        self._lifetimes = Lifetimes(
            certificate_s=config.certificate_lifetime, authority_s=config.authority_lifetime
        )
        self._folder = Path(config.folder)
        self._in_service: KeyMaterial | None = None
        self._namespace = config.namespace or cluster.namespace()
        self._place: KeepingPlace = (
            SecretPlace(cluster, namespace=cluster.namespace(), name=config.secret)
            if config.secret
            else FolderPlace(self._folder / "authority")
        )
        self._told = ""
        self._is_clock_told = False

    @property
    def name(self) -> str:
        """Unique name of the component."""
        return "admission.authority"

    @property
    def names(self) -> tuple[str, ...]:
        """What API servers and others may call the webhook by."""
        within = f"{self._config.service}.{self._namespace}.svc"
        return (within, f"{within}.cluster.local")

    def tls(self) -> TlsConfig:
        """The files to serve with; they are there once this has started."""
        cert, key = serving_files(self._folder)
        return TlsConfig(
            cert_file=FilePath(str(cert)),
            key_file=FilePath(str(key)),
            reload_interval=Duration(1.0),
        )

    async def start(self) -> None:
        """Have a certificate in service.

        Raises:
            ConfigError: the namespace is not known.
            SentinelError: there is none, and for as long as a start may take the API server could not be asked or the folder not be
                written to.
        """
        if not self._namespace or (self._config.secret and not self._cluster.namespace()):
            message = "must be given: nothing says which namespace the injector runs in"
            raise ConfigError([ConfigProblem(path="authority.namespace", message=message)])
        clock = self._surroundings.clock
        end_s, attempts, backoff = clock.monotonic_s() + _START_LIMIT_S, 0, Backoff(limit_s=5.0)
        while not await self.look():
            if self._in_service is not None:
                break
            attempts += 1
            wait_s = backoff.wait_s(attempts)
            if clock.monotonic_s() + wait_s > end_s:
                raise SentinelError(self._health.current.sentence)
            await clock.sleep(wait_s)
        self._tasks.spawn("look", self._follow)

    async def stop(self) -> None:
        """Look no more; idempotent."""
        await self._tasks.close()
        self._health.failing("Stopped")

    def health(self) -> Health:
        """Degraded while the certificate is served and something of its keeping fails."""
        return self._health.current

    async def look(self) -> bool:
        """Look once at everything; False, with the reason in health, when a part of it could not be done."""
        try:
            material = await self._material()
        except (SentinelError, OSError) as error:
            self._failed("kept", f"The authority cannot be kept: {_words(error)}")
            return False
        try:
            trusted_anew = await self._have_trusted(material)
        except (RetryableError, RefusedError, InputError) as error:
            if self._keeps(material) or await self._serve(material):
                self._failed("trusted", f"API servers may not trust the webhook: {_words(error)}")
            return False
        if trusted_anew:
            self._surroundings.logger.info(
                "The webhook configuration was told to trust the authority",
                extra={"configuration": self._config.webhook},
            )
        if not await self._serve(material):
            return False
        self._told = ""
        metrics = self._surroundings.metrics
        if self._config.webhook:
            metrics.set(
                "sentinel_admission_ca_bundle_current", 1, configuration=self._config.webhook
            )
        metrics.count("sentinel_admission_authority_looks_total", result="done")
        self._tell_clock()
        return True

    def _now_s(self) -> float:
        told_s = self._cluster.now_s()
        return self._surroundings.clock.now_ns() / 1e9 if told_s is None else told_s

    def _tell_clock(self) -> None:
        """Say in health and in a metric how far off this machine's clock is."""
        off_s = self._surroundings.clock.now_ns() / 1e9 - self._now_s()
        self._surroundings.metrics.set("sentinel_admission_clock_offset_seconds", round(off_s))
        if abs(off_s) <= _CLOCK_OFF_S:
            self._is_clock_told = False
            self._health.ok("In service")
            return
        sentence = (
            f"In service, by the API server's time: the clock here is {abs(off_s):.0f} s"
            f" {'ahead of' if off_s > 0 else 'behind'} it"
        )
        self._health.degraded(sentence)
        if not self._is_clock_told:
            self._is_clock_told = True
            self._surroundings.logger.warning(sentence)

    async def _follow(self) -> None:
        while True:
            await self._surroundings.clock.sleep(_LOOK_EVERY_S)
            await self.look()

    async def _material(self) -> KeyMaterial:
        """What is kept, made anew where it is due."""
        for _ in range(_TRIES_MAX):
            kept = await self._place.read()
            why = self._why_renew(kept)
            if not why:
                assert kept.material is not None
                return kept.material
            now_s = self._now_s()
            made = await asyncio.to_thread(self._issue, kept.material, now_s)
            try:
                await self._place.write(made, kept)
            except TakenError as error:
                self._surroundings.logger.info("Read again", extra={"why": str(error)})
                continue  # what another replica wrote is as good
            self._surroundings.metrics.count("sentinel_admission_certificates_issued_total")
            self._surroundings.logger.info(
                "A serving certificate was issued", extra={"why": why, "names": self.names}
            )
            return made
        msg = "other replicas keep writing the Secret"
        raise RetryableError(msg)

    def _why_renew(self, kept: Kept) -> str:
        if kept.material is None:
            return "there was none"
        try:
            return why_renew(
                kept.material,
                self.names,
                lifetimes=self._lifetimes,
                now_s=self._now_s(),
            )
        except MalformedInputError as error:
            return f"what was kept is of no use: {error}"

    def _issue(self, before: KeyMaterial | None, now_s: float) -> KeyMaterial:
        try:
            return issue(self.names, lifetimes=self._lifetimes, now_s=now_s, before=before)
        except MalformedInputError:
            return issue(self.names, lifetimes=self._lifetimes, now_s=now_s)

    async def _have_trusted(self, material: KeyMaterial) -> bool:
        if not self._config.webhook:
            return False
        return await have_trusted(
            self._cluster,
            webhook=self._config.webhook,
            service=self._config.service,
            namespace=self._namespace,
            authorities=material.authorities,
        )

    def _keeps(self, material: KeyMaterial) -> bool:
        """Whether what is in service stays there: it is still good, and its successor is of an authority nobody knows."""
        current = self._in_service
        if current is None or current.certificate_ends_s <= self._now_s():
            return False
        return not holds(current.authorities, material.signer)

    async def _serve(self, material: KeyMaterial) -> bool:
        """Put it in service; False, with the reason in health, where the files cannot be written: those of before stay."""
        metrics = self._surroundings.metrics
        if self._in_service != material:
            try:
                await asyncio.to_thread(put_in_service, self._folder, material)
            except OSError as error:
                self._failed(
                    "served", f"The certificate cannot be put in service: {_words(error)}"
                )
                return False
            self._in_service = material
        metrics.set(
            "sentinel_admission_certificate_expiry_timestamp_seconds",
            material.authority_ends_s,
            certificate="authority",
        )
        return True

    def _failed(self, step: str, sentence: str) -> None:
        metrics = self._surroundings.metrics
        metrics.count("sentinel_admission_authority_looks_total", result=f"not_{step}")
        if step == "trusted":
            metrics.set(
                "sentinel_admission_ca_bundle_current", 0, configuration=self._config.webhook
            )
        if self._in_service is None:
            self._health.failing(sentence)
        else:
            self._health.degraded(sentence)
        if sentence != self._told:
            self._told = sentence
            self._surroundings.logger.error(sentence)


def _words(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror.lower()}" if error.filename else error.strerror
    return str(error)

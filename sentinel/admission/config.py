"""The injector's own configuration: what pods may name, how the API server reaches it, and whom it asks."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum

from sentinel.admission.profiles import (
    DEFAULT_PROFILE,
    ProfileConfig,
    SidecarConfig,
    SidecarKind,
    SidecarRole,
    built_in_profiles,
    refuse_profiles,
)
from sentinel.runtime.listen import bind_address
from sentinel.runtime.logging import LoggingConfig
from sentinel.runtime.settings import ByteSize, Duration, FilePath, setting
from sentinel.runtime.tls import TlsConfig

_OBJECT_NAME = re.compile(r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?")
_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
_DAY_S = 86_400.0
_ACCOUNT = "/var/run/secrets/kubernetes.io/serviceaccount"
_ANSWER_LIMIT_S = 25.0
"""An API server waits thirty seconds at most."""


class SidecarChoice(StrEnum):
    """Native and container as said; auto asks the API server which version it is."""

    AUTO = "auto"
    NATIVE = "native"
    CONTAINER = "container"


def _refuse_port(port: int) -> None:
    if not 0 <= port <= 65_535:
        msg = f"port must be between 0 and 65535, not {port}"
        raise ValueError(msg)


@dataclass(frozen=True, slots=True, kw_only=True)
class WebhookListenConfig:
    """Where the API server finds the webhook, always by TLS."""

    address: str = setting(
        "127.0.0.1",
        help="IP address, or `localhost`; in a cluster that of the pod.",
        restart=True,
    )
    port: int = setting(9643, help="TCP port; 0 takes a free one.", restart=True)

    def __post_init__(self) -> None:
        _refuse_port(self.port)
        bind_address(self.address)


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbesConfig:
    """Where the kubelet and Prometheus find health and self-metrics; plain, for they carry no text of pods."""

    address: str = setting(
        "127.0.0.1",
        help="IP address, or `localhost`; in a cluster that of the pod.",
        restart=True,
    )
    port: int = setting(9641, help="TCP port; 0 takes a free one.", restart=True)

    def __post_init__(self) -> None:
        _refuse_port(self.port)
        bind_address(self.address)


@dataclass(frozen=True, slots=True, kw_only=True)
class ReviewsConfig:
    """Bounds of what is worked on; beyond them a pod is let through without a sidecar, and counted."""

    body_max: ByteSize = setting(ByteSize(4 * 2**20), help="Largest review.")
    in_flight_count_max: int = setting(
        512, help="Most reviews at once; an API server has 200 under way at most, by its defaults."
    )
    in_flight_bytes_max: ByteSize = setting(
        ByteSize(32 * 2**20), help="Most bytes of reviews at once."
    )
    time_limit: Duration = setting(
        Duration(2.0),
        help="Longest time to an answer, at most 25s; never above four fifths of what the API server says it waits.",
    )

    def __post_init__(self) -> None:
        for name in ("body_max", "in_flight_count_max", "time_limit"):
            if getattr(self, name) <= 0:
                msg = f"{name} must be above 0"
                raise ValueError(msg)
        if self.time_limit > _ANSWER_LIMIT_S:
            msg = "time_limit must be at most 25s: an API server waits 30s at most"
            raise ValueError(msg)
        if self.in_flight_bytes_max < self.body_max:
            msg = "in_flight_bytes_max must not be below body_max"
            raise ValueError(msg)


@dataclass(frozen=True, slots=True, kw_only=True)
class AuthorityConfig:
    """A certificate authority of its own, for clusters without cert-manager."""

    folder: FilePath = setting(
        FilePath("/var/lib/sentinel/tls"),
        help="Folder for the certificate in use; an `emptyDir` in memory will do where `secret` is given.",
        restart=True,
    )
    secret: str = setting(
        "sentinel-admission-tls",
        help="Secret that all replicas share it by, in the injector's own namespace, made where it is absent; empty keeps everything in `folder`, for one replica.",
        restart=True,
    )
    service: str = setting(
        "sentinel-admission",
        help="Service in front of the injector; the certificate is for its name.",
        restart=True,
    )
    namespace: str = setting(
        "", help="Its namespace; empty for that of the injector.", restart=True
    )
    webhook: str = setting(
        "sentinel-admission",
        help="MutatingWebhookConfiguration that is told to trust the authority; empty tells none.",
        restart=True,
    )
    certificate_lifetime: Duration = setting(
        Duration(90 * _DAY_S),
        help="How long a serving certificate is good; a new one is made when a third of that is left.",
        restart=True,
    )
    authority_lifetime: Duration = setting(
        Duration(3650 * _DAY_S),
        help="How long an authority is good; its successor is trusted beside it before it ends.",
        restart=True,
    )

    def __post_init__(self) -> None:
        for name in ("secret", "webhook"):
            if (text := getattr(self, name)) and not _OBJECT_NAME.fullmatch(text):
                msg = f"{name} must be the name of an object, not {text[:63]!r}"
                raise ValueError(msg)
        for name in ("service", "namespace"):
            text = getattr(self, name)
            if not _LABEL.fullmatch(text) and (text or name == "service"):
                msg = f"{name} must be a name of small letters, digits and hyphens, not {text[:63]!r}"
                raise ValueError(msg)
        if not 60.0 <= self.certificate_lifetime <= 825 * _DAY_S:
            msg = "certificate_lifetime must be between 1m and 825d"
            raise ValueError(msg)
        if self.authority_lifetime < 4 * self.certificate_lifetime:
            msg = "authority_lifetime must be at least four times certificate_lifetime"
            raise ValueError(msg)
        if self.authority_lifetime > 36_500 * _DAY_S:
            msg = "authority_lifetime must be at most 36500d"
            raise ValueError(msg)
        if not self.folder:
            msg = "folder must be given"
            raise ValueError(msg)


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterConfig:
    """How the API server is asked; in a pod the defaults are right."""

    url: str = setting(
        "",
        help="Its URL, https unless on loopback; empty for the one of the cluster the injector runs in.",
        restart=True,
    )
    token_file: FilePath = setting(
        FilePath(f"{_ACCOUNT}/token"),
        help="File with the service account's token, read anew for each question.",
        restart=True,
    )
    ca_file: FilePath = setting(
        FilePath(f"{_ACCOUNT}/ca.crt"),
        help="PEM file with the authority of the API server.",
        restart=True,
    )
    namespace_file: FilePath = setting(
        FilePath(f"{_ACCOUNT}/namespace"),
        help="File with the injector's own namespace; where there is none, the variable POD_NAMESPACE counts.",
        restart=True,
    )
    timeout: Duration = setting(Duration(10.0), help="Longest time of one question.", restart=True)

    def __post_init__(self) -> None:
        if not 0 < self.timeout <= 60.0:
            msg = "timeout must be above 0 and at most 60s"
            raise ValueError(msg)


@dataclass(frozen=True, slots=True, kw_only=True)
class ReconcileConfig:
    """The look for pods that should have a sidecar and do not."""

    enabled: bool = setting(True, help="Whether it is taken.", restart=True)  # noqa: FBT003  # a default
    interval: Duration = setting(
        Duration(120.0), help="How often all pods are listed, at least 10s.", restart=True
    )
    timeout: Duration = setting(Duration(60.0), help="Longest time of one look.", restart=True)
    page_count: int = setting(250, help="Pods that are asked for at once, 10-1000.", restart=True)
    namespace_count_max: int = setting(
        100,
        help="Namespaces that are told apart in the metric; the others are summed up as `_other`.",
        restart=True,
    )

    def __post_init__(self) -> None:
        if not 10.0 <= self.interval <= _DAY_S:
            msg = "interval must be between 10s and 1d"
            raise ValueError(msg)
        if not 0 < self.timeout <= 600.0:
            msg = "timeout must be above 0 and at most 10m"
            raise ValueError(msg)
        if not 10 <= self.page_count <= 1000:
            msg = "page_count must be between 10 and 1000"
            raise ValueError(msg)
        if not 1 <= self.namespace_count_max <= 1000:
            msg = "namespace_count_max must be between 1 and 1000"
            raise ValueError(msg)


@dataclass(frozen=True, slots=True, kw_only=True)
class AdmissionConfig:
    """Everything that can be set of the injector."""

    profiles: dict[str, ProfileConfig] = setting(
        built_in_profiles(),
        help="What a pod may name, by name; given, they take the place of the built-in small, standard and large.",
    )
    default_profile: str = setting(DEFAULT_PROFILE, help="Profile of a pod that names none.")
    sidecar: SidecarChoice = setting(
        SidecarChoice.AUTO,
        help="`native` needs Kubernetes 1.29; `container` is for older clusters, where pods that are to end get none; `auto` asks the API server.",
        restart=True,
    )
    ignored_namespaces: tuple[str, ...] = setting(
        ("kube-system", "kube-public", "kube-node-lease"),
        help="Namespaces whose pods never get one; the injector's own is always among them.",
    )
    allow_host_network: bool = setting(
        False,  # noqa: FBT003  # a default
        help="Inject pods with `hostNetwork` too, whose ports are those of the node.",
    )
    reviews: ReviewsConfig = setting(ReviewsConfig(), help="Bounds of what is worked on.")
    listen: WebhookListenConfig = setting(
        WebhookListenConfig(), help="Where the webhook is.", restart=True
    )
    probes: ProbesConfig = setting(
        ProbesConfig(), help="Where health and self-metrics are.", restart=True
    )
    tls: TlsConfig | None = setting(
        None,
        help="Certificate and key that somebody else renews, such as cert-manager; followed when they change.",
        restart=True,
    )
    authority: AuthorityConfig | None = setting(
        None,
        help="An authority of its own instead; exactly one of `tls` and `authority` is given.",
        restart=True,
    )
    warn_before: Duration = setting(
        Duration(7 * _DAY_S),
        help="How long before a certificate ends that is told in health and in the log.",
    )
    cluster: ClusterConfig = setting(
        ClusterConfig(), help="How the API server is asked.", restart=True
    )
    reconcile: ReconcileConfig = setting(
        ReconcileConfig(), help="The look for pods without their sidecar.", restart=True
    )
    stop_delay: Duration = setting(
        Duration(5.0),
        help="How long reviews are still answered after SIGTERM, while the Service learns that this replica goes.",
    )
    logging: LoggingConfig = setting(LoggingConfig(), help="Logs on standard error.")

    def __post_init__(self) -> None:
        refuse_profiles(self.profiles, default=self.default_profile)
        for name, profile in self.profiles.items():
            if profile.role is SidecarRole.BOTH and not profile.each_replica_scores:
                msg = (
                    f"profile {name}: how many pods a workload will have is not known when one is made, and with role both"
                    " each would page for a share of its traffic: role collect, or each_replica_scores: true"
                )
                raise ValueError(msg)
        if (self.tls is None) == (self.authority is None):
            msg = "exactly one of tls and authority must be given: who renews the certificate?"
            raise ValueError(msg)
        if not all(_LABEL.fullmatch(one) for one in self.ignored_namespaces):
            msg = "ignored_namespaces must be names of namespaces"
            raise ValueError(msg)
        if not 0 <= self.stop_delay <= 60.0:
            msg = "stop_delay must be at most 60s"
            raise ValueError(msg)
        if not 0 <= self.warn_before <= 365 * _DAY_S:
            msg = "warn_before must be at most 365d"
            raise ValueError(msg)

    def sidecar_config(self, kind: SidecarKind) -> SidecarConfig:
        """What is injected, in this form."""
        return SidecarConfig(
            profiles=self.profiles,
            default_profile=self.default_profile,
            kind=kind,
            allow_host_network=self.allow_host_network,
        )

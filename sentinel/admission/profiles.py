"""What the operator decides of the sidecar: named profiles, and which form it takes.

A pod may name a profile and nothing more; what the name stands for is written here, or in the injector's configuration.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from decimal import Decimal
from enum import StrEnum

from sentinel import __version__
from sentinel.runtime.settings import setting

DEFAULT_IMAGE = f"sentinel:{__version__}"
DEFAULT_PROFILE = "standard"
DEFAULT_CONFIG_MAP = "sentinel"
PROFILE_COUNT_MAX = 100

_NAME = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
_OBJECT_NAME = re.compile(r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?")
_IMAGE = re.compile(r"[\w][\w.:/@-]{0,511}", re.ASCII)
_CPU = re.compile(r"([0-9]{1,6})m|([0-9]{1,4}(?:\.[0-9]{1,3})?)")
_MEMORY = re.compile(r"([0-9]{1,12})(Ki|Mi|Gi|k|M|G|)")
_MEMORY_UNITS = {"": 1, "k": 10**3, "M": 10**6, "G": 10**9, "Ki": 2**10, "Mi": 2**20, "Gi": 2**30}
_MEMORY_LIMIT_MIN = 96 * 2**20
_STORE_MIN = 64 * 2**20


class SidecarKind(StrEnum):
    """Native is an init container that stays (Kubernetes 1.29); a container is one beside the application's."""

    NATIVE = "native"
    CONTAINER = "container"


class SidecarRole(StrEnum):
    """What an injected sidecar does: hand closed windows to its service's scorer, or decide by itself."""

    COLLECT = "collect"
    BOTH = "both"


@dataclass(frozen=True, slots=True, kw_only=True)
class ProfileConfig:
    """What a pod gets that names this profile; quantities are written as in Kubernetes."""

    image: str = setting(
        DEFAULT_IMAGE,
        help="Image of the sidecar, where the cluster's nodes find it; give it by digest.",
    )
    config_map: str = setting(
        DEFAULT_CONFIG_MAP,
        help="ConfigMap with the sidecar's configuration, in the pod's own namespace; for as long as it is not there or is wrong the built-in defaults hold, which page nobody. Empty for those defaults, with `role: both` only.",
    )
    secret: str = setting(
        "",
        help="Secret with the tokens and authorities that the configuration names, in the pod's own namespace; its keys are files in /etc/sentinel-secret.",
    )
    role: SidecarRole = setting(
        SidecarRole.COLLECT,
        help="`collect` hands windows to the service's scorer, which `config_map` has to name; `both` decides by what one pod hears, and needs `each_replica_scores` in the injector, which cannot know how many pods a service will have. It counts before what the ConfigMap says.",
    )
    each_replica_scores: bool = setting(
        False,  # noqa: FBT003  # a default
        help="With `both`: each pod is a service of its own, which learns, decides and pages by what it hears alone, however many there are.",
    )
    cpu_request: str = setting("50m", help="CPU that is reserved.")
    cpu_limit: str = setting(
        "",
        help="Most CPU; empty for no limit: throttled, it would decide late exactly when there is most to decide.",
    )
    memory_request: str = setting("128Mi", help="Memory that is reserved.")
    memory_limit: str = setting("256Mi", help="Most memory, at least 96Mi.")
    store: str = setting(
        "2Gi",
        help="Limit of the store's volume, at least 64Mi; the store itself ends at three quarters of it.",
    )

    def __post_init__(self) -> None:
        if not _IMAGE.fullmatch(self.image):
            msg = f"image must be a reference such as {DEFAULT_IMAGE}, not {self.image!r}"
            raise ValueError(msg)
        for name in ("config_map", "secret"):
            if (text := getattr(self, name)) and not _OBJECT_NAME.fullmatch(text):
                msg = f"{name} must be the name of an object, not {text[:63]!r}"
                raise ValueError(msg)
        if self.role is SidecarRole.COLLECT and not self.config_map:
            msg = "role collect needs config_map: it says where the scorer is"
            raise ValueError(msg)
        if self.role is SidecarRole.COLLECT and self.each_replica_scores:
            msg = "each_replica_scores goes with role both: a collecting sidecar scores nothing"
            raise ValueError(msg)
        request, limit = _memory("memory_request", self), _memory("memory_limit", self)
        if limit < max(request, _MEMORY_LIMIT_MIN):
            msg = "memory_limit must be at least 96Mi and not below memory_request"
            raise ValueError(msg)
        if self.cpu_limit and _cpu("cpu_limit", self) < _cpu("cpu_request", self):
            msg = "cpu_limit must not be below cpu_request"
            raise ValueError(msg)
        if _cpu("cpu_request", self) == 0 or request == 0:
            msg = f"{'memory_request' if request == 0 else 'cpu_request'} must be above 0"
            raise ValueError(msg)
        if _memory("store", self) < _STORE_MIN:
            msg = "store must be at least 64Mi"
            raise ValueError(msg)

    @property
    def store_max_bytes(self) -> int:
        """The store's own ceiling: below its volume's, with room for the write-ahead log. Over that the whole pod is evicted."""
        return _memory("store", self) * 3 // 4


def built_in_profiles(
    *,
    image: str = DEFAULT_IMAGE,
    config_map: str = DEFAULT_CONFIG_MAP,
    role: SidecarRole = SidecarRole.COLLECT,
    each_replica_scores: bool = False,
) -> dict[str, ProfileConfig]:
    """The three sizes there are without a configuration; ValueError for what cannot be an image or a ConfigMap, and for a role that does not go with the rest."""
    standard = ProfileConfig(
        image=image, config_map=config_map, role=role, each_replica_scores=each_replica_scores
    )
    return {
        "small": replace(
            standard,
            cpu_request="25m",
            memory_request="96Mi",
            memory_limit="192Mi",
            store="512Mi",
        ),
        DEFAULT_PROFILE: standard,
        "large": replace(
            standard,
            cpu_request="250m",
            memory_request="256Mi",
            memory_limit="512Mi",
            store="8Gi",
        ),
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class SidecarConfig:
    """All that an injection follows besides the pod.

    Attributes:
        profiles: what a pod may name, by name.
        default_profile: of a pod that names none.
        kind: the form of the sidecar.
        allow_host_network: inject also where the ports are those of the node.
    """

    profiles: Mapping[str, ProfileConfig] = field(default_factory=built_in_profiles)
    default_profile: str = DEFAULT_PROFILE
    kind: SidecarKind = SidecarKind.NATIVE
    allow_host_network: bool = False

    def __post_init__(self) -> None:
        refuse_profiles(self.profiles, default=self.default_profile)


def refuse_profiles(profiles: Mapping[str, ProfileConfig], *, default: str) -> None:
    """Raise ValueError for names that no annotation could hold, for too many, and for a default that is none of them."""
    for name in profiles:
        if not _NAME.fullmatch(name):
            msg = (
                f"profiles must have names of small letters, digits and hyphens, not {name[:63]!r}"
            )
            raise ValueError(msg)
    if len(profiles) > PROFILE_COUNT_MAX:
        msg = f"profiles may be at most {PROFILE_COUNT_MAX}"
        raise ValueError(msg)
    if default not in profiles:
        known = ", ".join(sorted(profiles)[:10]) or "none"
        msg = f"default_profile must be one of profiles ({known}), not {default[:63]!r}"
        raise ValueError(msg)


def _cpu(name: str, profile: ProfileConfig) -> Decimal:
    """Thousandths of a core."""
    text = str(getattr(profile, name))
    found = _CPU.fullmatch(text)
    if found is None:
        msg = f'{name} must be a quantity such as 50m or "1.5", not {text[:63]!r}'
        raise ValueError(msg)
    return Decimal(found[1]) if found[1] is not None else Decimal(found[2]) * 1000


def _memory(name: str, profile: ProfileConfig) -> int:
    text = str(getattr(profile, name))
    found = _MEMORY.fullmatch(text)
    if found is None:
        msg = f"{name} must be a quantity such as 128Mi or 2Gi, not {text[:63]!r}"
        raise ValueError(msg)
    return int(found[1]) * _MEMORY_UNITS[found[2]]

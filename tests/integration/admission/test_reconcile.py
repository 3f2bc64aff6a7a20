"""Goal: pods that should have a sidecar and do not are found in a cluster of many pages, and half a look changes nothing.

Method: an API server over TLS that lists pods in pages, forgets where it was, refuses, breaks, and is slow to be right.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from sentinel.admission.cluster import Cluster
from sentinel.admission.config import ClusterConfig, ReconcileConfig, SidecarChoice
from sentinel.admission.patch import patch_pod
from sentinel.admission.profiles import SidecarConfig, SidecarKind
from sentinel.admission.reconcile import Reconciler
from sentinel.admission.review import ReviewRules
from sentinel.admission.version import SidecarForm
from sentinel.errors import ConfigError
from sentinel.runtime.component import HealthStatus
from sentinel.runtime.settings import Duration, FilePath
from tests.support.api_server import ApiServer, api_server
from tests.support.clock import ManualClock
from tests.support.injector import cluster_config, make_pod
from tests.support.surroundings import make_surroundings

pytestmark = pytest.mark.integration

RULES = ReviewRules(sidecar=SidecarConfig(), ignored_namespaces=frozenset({"kube-system"}))


def in_namespace(pod: dict[str, Any], namespace: str, phase: str = "Running") -> dict[str, Any]:
    return {
        **pod,
        "metadata": {**pod["metadata"], "namespace": namespace},
        "status": {"phase": phase},
    }


HAS_ONE = patch_pod(make_pod(), SidecarConfig()).pod


class Look:
    """A reconciler with metrics of its own."""

    def __init__(self, api: ApiServer, *, answer_bytes_max: int = 2**20, **more: Any) -> None:
        self.surroundings = make_surroundings(ManualClock())
        config = dataclasses.replace(ReconcileConfig(page_count=10), **more)
        cluster = Cluster(cluster_config(api), {}, answer_bytes_max=answer_bytes_max)
        self.reconciler = Reconciler(config, cluster, lambda: RULES, self.surroundings)

    def missing(self, namespace: str, reason: str = "missed") -> float | None:
        """What the metric says of a namespace; None where it says nothing."""
        return self.surroundings.metrics.registry.get_sample_value(
            "sentinel_admission_pods_missing", {"namespace": namespace, "reason": reason}
        )

    def value(self, name: str, **labels: str) -> float:
        """A metric's value."""
        return self.surroundings.metrics.value(name, **labels)


async def test_pods_of_many_pages_are_counted_by_namespace(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with api_server(tmp_path) as api:
        api.pods = [
            *(in_namespace(HAS_ONE, "pay") for _ in range(25)),
            *(in_namespace(make_pod(), "pay") for _ in range(3)),
            *(in_namespace(make_pod(), "pay", "Succeeded") for _ in range(50)),
            *(in_namespace(make_pod(), "kube-system") for _ in range(2)),
            *(in_namespace(make_pod(hostNetwork=True), "edge") for _ in range(4)),
            *(in_namespace(make_pod(annotations={}), "none") for _ in range(9)),
        ]
        look = Look(api)
        assert await look.reconciler.look()
        assert (look.missing("pay"), look.missing("pay", "refused")) == (3, 0)
        assert (look.missing("edge"), look.missing("edge", "refused")) == (0, 4)
        assert look.missing("kube-system") is None
        states = {
            state: look.value("sentinel_admission_pods", state=state)
            for state in ("present", "outdated", "missed", "refused")
        }
        assert states == {"present": 25, "outdated": 0, "missed": 3, "refused": 4}
        pages = [one for one in api.asked if one.startswith("GET /api/v1/pods")]
        assert len(pages) == 5  # those that have ended were not even asked for
        [told] = caplog.records
        assert "pay/payments (missed)" in vars(told)["pods"]
        # Made anew, they have one; the namespace is forgotten.
        api.pods = [in_namespace(HAS_ONE, "pay")]
        assert await look.reconciler.look()
        assert look.missing("pay") is None
        assert look.value("sentinel_admission_pods", state="missed") == 0


async def test_a_forgotten_page_begins_the_list_anew_once(tmp_path: Path) -> None:
    with api_server(tmp_path) as api:
        api.pods = [in_namespace(make_pod(), "pay") for _ in range(25)]
        api.forgets_pages = 1
        look = Look(api)
        assert await look.reconciler.look()
        assert look.missing("pay") == 25
        api.forgets_pages = 2
        assert not await look.reconciler.look()
        assert look.missing("pay") == 25


@pytest.mark.parametrize(
    ("fault", "result"), [("right", "refused"), ("answer", "unreachable"), ("token", "refused")]
)
async def test_half_a_look_changes_no_number_and_is_told(
    tmp_path: Path, fault: str, result: str
) -> None:
    with api_server(tmp_path) as api:
        api.pods = [in_namespace(make_pod(), "pay") for _ in range(25)]
        look = Look(api)
        assert await look.reconciler.look()
        seen_s = look.value("sentinel_admission_reconcile_timestamp_seconds")
        api.pods = []
        if fault == "right":
            api.refused.add("/api/v1/pods")
        elif fault == "answer":
            api.broken = [("/api/v1/pods", 503)]
        else:
            api.token_file.write_text("an-old-token")
        assert not await look.reconciler.look()
        assert look.missing("pay") == 25
        assert look.value("sentinel_admission_reconciles_total", result=result) == 1
        assert look.value("sentinel_admission_reconcile_timestamp_seconds") == seen_s
        assert look.reconciler.health().status is HealthStatus.DEGRADED
        assert "an-old-token" not in look.reconciler.health().sentence
        if fault == "right":
            assert (
                "no right to list the pods of all namespaces" in look.reconciler.health().sentence
            )
        if fault == "token":
            assert "does not know the service account's token" in look.reconciler.health().sentence


async def test_pods_too_large_for_a_page_are_asked_for_in_smaller_ones(tmp_path: Path) -> None:
    with api_server(tmp_path) as api:
        pod = in_namespace(make_pod(), "pay")
        pod["metadata"]["annotations"]["notes"] = "x" * 20_000
        api.pods = [pod for _ in range(60)]
        look = Look(api, answer_bytes_max=500_000, page_count=50)
        assert await look.reconciler.look()
        assert look.missing("pay") == 60
        tiny = Look(api, answer_bytes_max=50_000)
        assert not await tiny.reconciler.look()
        assert "too large" in tiny.reconciler.health().sentence


async def test_the_form_follows_the_version_of_the_api_server(tmp_path: Path) -> None:
    with api_server(tmp_path) as api:
        surroundings = make_surroundings(ManualClock())
        form = SidecarForm(SidecarChoice.AUTO, Cluster(cluster_config(api), {}), surroundings)
        api.broken = [("/version", 503)]
        assert not await form.look()
        assert (form.kind, form.health().status) == (None, HealthStatus.FAILING)
        for minor, kind in (("28+", "container"), ("29", "native"), ("33", "native")):
            api.version = {"major": "1", "minor": minor}
            assert await form.look()
            assert form.kind is SidecarKind(kind)
        api.version = {"major": "one"}
        assert not await form.look()
        assert form.kind is SidecarKind.NATIVE
        assert form.health().status is HealthStatus.DEGRADED
        fixed = SidecarForm(SidecarChoice.CONTAINER, Cluster(ClusterConfig(), {}), surroundings)
        await fixed.start()
        assert fixed.kind is SidecarKind.CONTAINER
        await fixed.stop()


async def test_another_authority_than_the_clusters_is_not_told_the_token(tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    with api_server(tmp_path) as api, api_server(other) as stranger:
        config = dataclasses.replace(cluster_config(api), url=stranger.url)
        reconciler = Reconciler(
            ReconcileConfig(), Cluster(config, {}), lambda: RULES, make_surroundings()
        )
        assert not await reconciler.look()
        assert "certificate" in reconciler.health().sentence
        assert stranger.asked == []


def test_the_token_never_goes_in_the_open() -> None:
    with pytest.raises(ConfigError, match="https"):
        Cluster(ClusterConfig(url="http://10.0.0.1:8080"), {})
    with pytest.raises(ConfigError, match="https"):
        Cluster(ClusterConfig(url="ftp://x"), {})


async def test_where_no_cluster_is_known_that_is_said() -> None:
    nowhere = ClusterConfig(ca_file=FilePath("/nonexistent"), timeout=Duration(1.0))
    reconciler = Reconciler(
        ReconcileConfig(), Cluster(nowhere, {}), lambda: RULES, make_surroundings()
    )
    assert not await reconciler.look()
    assert "no API server is known" in reconciler.health().sentence
    told = {"KUBERNETES_SERVICE_HOST": "fd00::1", "KUBERNETES_SERVICE_PORT": "6443"}
    reconciler = Reconciler(
        ReconcileConfig(), Cluster(nowhere, told), lambda: RULES, make_surroundings()
    )
    assert not await reconciler.look()
    assert "/nonexistent" in reconciler.health().sentence

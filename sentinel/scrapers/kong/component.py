"""Kong's prometheus plugin, asked at the status API: calls of every route, what the gateway refused, and how it is itself.

Each group of its metrics is off until it is switched on, and Kong says nothing of what is off: it is not on the page. So the
page is looked at for what it lacks, and what to switch on is said in health and by `check ready`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from sentinel.core.normalise.kong.metrics import KongMetricsSettings, KongParser
from sentinel.core.normalise.prometheus import MetricsPage, PageFormat, PageLimits
from sentinel.runtime.component import Surroundings
from sentinel.runtime.consumer_tiers import checked_tiers
from sentinel.runtime.http.fetch import Fetcher
from sentinel.runtime.intake.downstream import Downstream
from sentinel.runtime.polling.component import Scraping
from sentinel.runtime.polling.metrics_target import Finding, MetricsTarget, MetricsTargetSettings
from sentinel.scrapers.kong.config import KongSwitch, KongTargetConfig

COMPONENT = "scrapers.kong"
_ADMIN_HEADER = "Kong-Admin-Token"


def kong_target(config: KongTargetConfig) -> MetricsTarget:
    """One target; ConfigError when a file of its TLS cannot be used."""
    parser = KongParser(
        KongMetricsSettings(
            target=f"{COMPONENT}/{config.name}",
            service=config.service,
            tiers=checked_tiers(config.tiers),
            every_route=config.every_route,
        ),
        limits=PageLimits(sample_count_max=config.sample_count_max),
    )
    headers = {}
    if config.admin_token is not None:
        headers[_ADMIN_HEADER] = config.admin_token.reveal()
    return MetricsTarget(
        MetricsTargetSettings(
            component=COMPONENT,
            name=config.name,
            url=config.url,
            interval_s=config.interval,
            timeout_s=config.timeout,
            formats=(PageFormat.TEXT,),
            headers=headers,
            sample_count_max=config.sample_count_max,
        ),
        Fetcher(config.client, config.url),
        parser,
        inspect=lambda page: tuple(_findings(page, parser, config)),
    )


def kong_scraping(
    configs: Sequence[KongTargetConfig], downstream: Downstream, surroundings: Surroundings
) -> Scraping | None:
    """The component of all targets, or None when there is none."""
    if not configs:
        return None
    return Scraping(
        COMPONENT, [kong_target(config) for config in configs], downstream, surroundings
    )


def _findings(
    page: MetricsPage, parser: KongParser, config: KongTargetConfig
) -> Iterator[Finding]:
    """What the page lacks that Kong could give."""
    families = page.families
    if not any(name.startswith("kong_") for name in families):
        yield Finding(
            "nothing of Kong's is on the page",
            "add the prometheus plugin, and give the address of the status API (status_listen, port 8007)",
        )
        return
    if "kong_data_plane_last_seen" in families:
        # A control plane serves no request; its data planes are asked for themselves.
        return
    has = {
        KongSwitch.STATUS_CODE: _has(families, "kong_http_requests", "kong_http_status"),
        KongSwitch.LATENCY: _has(
            families, "kong_request_latency_ms", "kong_kong_latency_ms", "kong_latency"
        ),
        KongSwitch.BANDWIDTH: _has(families, "kong_bandwidth"),
        KongSwitch.UPSTREAM_HEALTH: _has(families, "kong_upstream_target_health"),
        KongSwitch.PER_CONSUMER: parser.has_consumer or not config.tiers,
    }
    missing = [
        switch
        for switch, is_there in has.items()
        if not is_there and switch not in config.off_on_purpose
    ]
    of_requests = (KongSwitch.STATUS_CODE, KongSwitch.LATENCY, KongSwitch.BANDWIDTH)
    if not any(has[switch] for switch in of_requests):
        told = [switch for switch in missing if switch in of_requests]
        if told:
            yield Finding(
                f"nothing of any request: {', '.join(told)} are off, or no request has matched a route yet",
                _remedy(*told),
            )
        missing = [switch for switch in missing if switch not in of_requests]
        missing = [switch for switch in missing if switch is not KongSwitch.PER_CONSUMER]
    for switch in missing:
        yield Finding(_ABSENT[switch].format(switch=switch.value), _remedy(switch))
    if _has(families, "kong_http_status"):
        yield Finding(
            "this is Kong 2, whose metrics do not say who answered: what the gateway refused is not told apart",
            "nothing to switch on; Kong 3 tells",
        )


def _has(families: frozenset[str], *names: str) -> bool:
    return any(
        name.removesuffix("_total").removesuffix("_bytes") in names or name in names
        for name in families
    )


def _remedy(*switches: KongSwitch) -> str:
    settings = ", ".join(f"{switch.value}: true" for switch in switches)
    names = ", ".join(switch.value for switch in switches)
    return f"set {settings} in the config of Kong's prometheus plugin, or name {names} in off_on_purpose"


_ABSENT = {
    KongSwitch.STATUS_CODE: "no counts by status code, so no errors and no refusals: {switch} is off",
    KongSwitch.LATENCY: "no latencies: {switch} is off",
    KongSwitch.BANDWIDTH: "no bandwidth: {switch} is off",
    KongSwitch.UPSTREAM_HEALTH: "no health of upstreams: {switch} is off, or Kong has no upstreams",
    KongSwitch.PER_CONSUMER: "no tiers: {switch} is off, or no consumer has called yet",
}

"""Who wrote a log file, by where it lies, when neither the configuration nor its lines say so."""

from __future__ import annotations

import re

from sentinel.core.normalise.labels import UNKNOWN_SERVICE, label_of

_POD = re.compile(r"/pods/[^/_]+_[^/_]+_[^/_]+/([^/]+)/\d+\.log")
_CONTAINER = re.compile(r"/[^/_]+_[^/_]+_([^/]+)-[0-9a-f]{64}\.log$")
_DOCKER = re.compile(r"/containers/([0-9a-f]{12})[0-9a-f]{52}/")
_ENDINGS = re.compile(r"(?:[._-]?(?:log|json|txt|out|err|\d[\d_-]*))+$", re.IGNORECASE)


def service_of_path(path: str) -> str:
    """The container of Kubernetes' and Docker's files; of any other its name without its endings.

    >>> service_of_path("/var/log/pods/shop_ledger-7c9d_0a1b/ledger/0.log"), service_of_path("/srv/log/gateway.json.log")
    ('ledger', 'gateway')
    """
    for pattern in (_POD, _CONTAINER, _DOCKER):
        match = pattern.search(path)
        if match is not None:
            return label_of(match.group(1))
    name = path.rsplit("/", 1)[-1]
    return label_of(_ENDINGS.sub("", name)) or label_of(name) or UNKNOWN_SERVICE

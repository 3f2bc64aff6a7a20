"""The document as generators of clients take it: openapi-generator cannot do with all of OpenAPI 3.1.

- `webhooks`: its Python does not compile, and it says nothing of it. The schemas of the events stay, so clients have models of them.
- `oauth2`: its Go wants a library of another's. Whoever has a token gives it as `bearerToken`, which is the same on the wire.
- `clientCertificate`: TLS is set up in the client's own HTTP library.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any, Final

_LEFT_OUT: Final = frozenset({"oauth2", "clientCertificate"})


def for_generators(document: Mapping[str, Any]) -> dict[str, Any]:
    """Return a copy of the document without what generators fail on."""
    told = copy.deepcopy({name: part for name, part in document.items() if name != "webhooks"})
    schemes = told["components"]["securitySchemes"]
    for name in _LEFT_OUT:
        schemes.pop(name, None)
    told["tags"] = [tag for tag in told["tags"] if tag["name"] != "Webhooks"]
    for item in told["paths"].values():
        for operation in item.values():
            operation["security"] = [
                one for one in operation["security"] if not _LEFT_OUT & one.keys()
            ]
    return told

"""What people say of incidents, as requests: the one page that changes anything, so the administrator's."""

from __future__ import annotations

import json

from aiohttp import hdrs, web

from sentinel.core.model import BY_LENGTH_MAX
from sentinel.errors import InputError, OverloadedError, SentinelError
from sentinel.runtime.http.body import BodyLimitsConfig, SlowInputError, read_body
from sentinel.runtime.http.server import Handler
from sentinel.runtime.settings import ByteSize
from sentinel.web.api import describe_incident
from sentinel.web.replies import json_reply, render_error
from sentinel.web.sources import AcceptSource

_BODY = BodyLimitsConfig(compressed_max=ByteSize(4096), inflated_max=ByteSize(4096))
_JSON = "application/json"


class WordPages:
    """`POST /api/v1/incidents/include` and `/exclude`."""

    def __init__(self, source: AcceptSource) -> None:
        self._source = source

    @property
    def handlers(self) -> dict[str, Handler]:
        """Handler by path."""
        return {
            "/api/v1/incidents/include": self._include,
            "/api/v1/incidents/exclude": self._exclude,
        }

    async def _include(self, request: web.BaseRequest) -> web.StreamResponse:
        return await self._say(request, accepted=True)

    async def _exclude(self, request: web.BaseRequest) -> web.StreamResponse:
        return await self._say(request, accepted=False)

    async def _say(self, request: web.BaseRequest, *, accepted: bool) -> web.StreamResponse:
        # A form of a page elsewhere cannot send this type without asking first.
        if request.headers.get(hdrs.CONTENT_TYPE, "").partition(";")[0].strip().lower() != _JSON:
            return render_error(request, 415, f"the body must be {_JSON}")
        try:
            incident_id, by = _said(await read_body(request, _BODY))
        except (ValueError, InputError) as error:
            return render_error(request, 400, str(error))
        except SlowInputError as error:
            return render_error(request, 408, str(error))
        try:
            incident = await self._source.accept(incident_id, by=by, accepted=accepted)
        except (OverloadedError, TimeoutError):
            return render_error(
                request, 503, "no window was stored with it yet; what was said may still be"
            )
        except SentinelError as error:
            return render_error(request, 409, str(error))
        if incident is None:
            return render_error(request, 404, "there is no such incident")
        return json_reply({"incident": describe_incident(incident)})


def _said(body: bytes) -> tuple[str, str]:
    """The incident's id and who speaks; ValueError for anything else."""
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        document = None
    if not isinstance(document, dict) or set(document) != {"id", "by"}:
        msg = 'the body must be {"id": incident, "by": who says so}'
        raise ValueError(msg)
    incident_id, by = document["id"], document["by"]
    if not all(isinstance(text, str) and text.strip() for text in (incident_id, by)):
        msg = "id and by must be texts that are not empty"
        raise ValueError(msg)
    by = by.strip()
    if len(by) > BY_LENGTH_MAX or not by.isprintable():
        msg = f"by must be at most {BY_LENGTH_MAX} printable characters"
        raise ValueError(msg)
    return incident_id, by

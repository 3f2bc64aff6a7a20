"""Parts of windows through a JetStream stream: published with an identity, so that what is sent again is stored once."""

from __future__ import annotations

from hashlib import blake2b

from sentinel.runtime.nats.config import NatsStreamConfig
from sentinel.runtime.nats.stream import StreamConnection
from sentinel.senders.windows.transports import Outcome, Verdict

_PUBLISH_S = 5.0


class NatsTransport:
    """Publishes to the stream; taken is what the server has acknowledged as stored."""

    def __init__(self, config: NatsStreamConfig, *, collector: str) -> None:
        """Make it; ConfigError when a file of its TLS cannot be used."""
        self._connection = StreamConnection(config, name="sentinel-collect")
        # A pod's name may have what a subject must not.
        own = blake2b(collector.encode(), digest_size=8).hexdigest()
        self._subject = f"{config.subject}.{own}"
        self._stream = config.stream

    @property
    def place(self) -> str:
        """Where it leads, for messages."""
        return self._connection.place

    async def send(self, body: bytes, *, identity: str) -> Outcome:
        """Try once."""
        try:
            context = await self._connection.context()
            await context.publish(
                self._subject,
                body,
                timeout=_PUBLISH_S,
                stream=self._stream,
                headers={"Nats-Msg-Id": identity},
            )
        except Exception as error:  # noqa: BLE001  # the library raises what it meets; each is tried again
            detail = self._connection.words(error)
            await self._connection.close()
            # `max_payload` is the server's; no other server of the cluster takes more.
            refused = type(error).__name__ == "MaxPayloadError"
            return Outcome(verdict=Verdict.REFUSED if refused else Verdict.RETRY, detail=detail)
        return Outcome(verdict=Verdict.TAKEN)

    async def close(self) -> None:
        """Let connections go; idempotent."""
        await self._connection.close()

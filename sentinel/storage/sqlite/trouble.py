"""What is wrong with the store now, in sentences, one a topic."""

from __future__ import annotations

from enum import StrEnum


class Topic(StrEnum):
    """What a sentence is about; a later one on the same topic takes its place."""

    FAILING = "failing"
    UNRECORDED = "unrecorded"
    FULL = "full"
    DAMAGE = "damage"
    LOG = "log"


_NOT_DONE = frozenset({Topic.FAILING, Topic.UNRECORDED})


class Trouble:
    """The present troubles; noted in the store's thread, read from any."""

    def __init__(self) -> None:
        self._sentences: dict[Topic, str] = {}

    def note(self, topic: Topic, sentence: str) -> None:
        """Something is wrong."""
        self._sentences[topic] = sentence

    def clear(self, topic: Topic) -> None:
        """It is not any more."""
        self._sentences.pop(topic, None)

    def has(self, topic: Topic) -> bool:
        """Whether something is wrong there."""
        return topic in self._sentences

    @property
    def sentence(self) -> str:
        """All that is wrong, or "" when all is well."""
        return "; ".join(self._sentences.copy().values())

    @property
    def is_failing(self) -> bool:
        """Whether the store does not do its job: it cannot be used, or does not take what it is given."""
        return not _NOT_DONE.isdisjoint(self._sentences.copy())

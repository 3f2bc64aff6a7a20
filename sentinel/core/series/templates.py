"""Templates of free text: what lines without an event's name are counted by.

A gist (a line without numbers, ids and quoted values) is a template as it stands until `_VARIANTS_MAX` of them differ in the
same few words; then those words are what varies and become `<*>`. That is Drain's tree (He et al., "Drain: An online
log parsing approach with fixed depth tree", ICWS 2017): words are compared among lines of the same length and first word only.
Two things differ. Drain joins the first two lines that are alike, and so tells nobody apart who could not connect to redis and
who could not to postgres; and which name a series has would depend on which line came first.

A service has a bounded number of templates; lines beyond it are counted as `other`. What was not met for a day gives way.
What is known can be written down and read again, so that series keep their names over a restart.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

VARYING = "<*>"

_TEMPLATE_CHARS_MAX = 160
_WORDS_MAX = 24
_ALIKE_RATIO = 0.7
_VARIANTS_MAX = 4
_KNOWN_MAX = 8192


@dataclass(slots=True)
class _Template:
    words: tuple[str, ...]
    text: str
    last_ns: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TemplateSettings:
    """How many templates there may be.

    Attributes:
        per_service_max: of one service.
        services_max: services that have any.
    """

    per_service_max: int = 64
    services_max: int = 256


class Templates:
    """The templates of every service; one thread at a time."""

    names_series = True
    """Whether series are called by them; not so of what another process makes templates of."""

    def __init__(self, settings: TemplateSettings | None = None) -> None:
        self._settings = settings or TemplateSettings()
        self._services: dict[str, dict[tuple[int, str], list[_Template]]] = {}
        self._counts: dict[str, int] = {}
        self._known: dict[tuple[str, str], _Template] = {}
        self.refused_count = 0
        """Lines that no template was made for, because their service has enough of them."""
        self.is_changed = False
        """Whether there is something that was not written down yet; whoever writes it down sets it back."""

    @property
    def count(self) -> int:
        """How many there are."""
        return sum(self._counts.values())

    def name_of(self, service: str, gist: str, now_ns: int) -> str:
        """The template of a line with this gist, or "" when there is none and no room for one more.

        >>> templates = Templates()
        >>> [templates.name_of("pay", f"user {name} logged in", 0) for name in ("ann", "bob", "cy", "di", "eve")]
        ['user ann logged in', 'user bob logged in', 'user cy logged in', 'user <*> logged in', 'user <*> logged in']
        >>> templates.name_of("pay", "user ann logged in", 0)
        'user <*> logged in'
        """
        known = self._known.get((service, gist))
        if known is not None:
            known.last_ns = max(known.last_ns, now_ns)
            return known.text
        words = tuple(gist.split(maxsplit=_WORDS_MAX))[:_WORDS_MAX]
        if not words:
            return ""
        found = self._find(service, words, now_ns)
        if found is None:
            self.refused_count += 1
            return ""
        if len(self._known) >= _KNOWN_MAX:
            self._known.clear()
        self._known[service, gist] = found
        return found.text

    def forget_idle(self, before_ns: int) -> None:
        """Forget what was not met since."""
        for service, leaves in list(self._services.items()):
            for place, templates in list(leaves.items()):
                kept = [each for each in templates if each.last_ns >= before_ns]
                if len(kept) < len(templates):
                    self._counts[service] -= len(templates) - len(kept)
                    self._known.clear()
                    self.is_changed = True
                    leaves[place] = kept
                if not kept:
                    del leaves[place]
            if not leaves:
                del self._services[service], self._counts[service]

    def set_back(self, now_ns: int) -> None:
        """Take what was met later than now for met now, because the clock that said so was wrong."""
        for leaves in self._services.values():
            for templates in leaves.values():
                for each in templates:
                    each.last_ns = min(each.last_ns, now_ns)

    def rows(self) -> list[tuple[str, str, int]]:
        """What is known: service, template, when it was last met."""
        return [
            (service, " ".join(each.words), each.last_ns)
            for service, leaves in self._services.items()
            for templates in leaves.values()
            for each in templates
        ]

    def restore(self, rows: Iterable[tuple[str, str, int]]) -> None:
        """Know what was written down, as far as there is room."""
        for service, text, last_ns in rows:
            words = tuple(text.split(maxsplit=_WORDS_MAX))[:_WORDS_MAX]
            if words and self._has_room(service):
                templates = self._leaf(service, words)
                if all(each.words != words for each in templates):
                    self._add(service, templates, words, last_ns)
        self.is_changed = False

    def _find(self, service: str, words: tuple[str, ...], now_ns: int) -> _Template | None:
        leaves = self._services.get(service, {})
        templates = leaves.get(_place(words), [])
        # The most literal one that fits, so that what was known before others were joined keeps its name.
        fitting = [each for each in templates if _fits(each.words, words)]
        if fitting:
            best = min(fitting, key=lambda each: (each.words.count(VARYING), each.text))
            best.last_ns = max(best.last_ns, now_ns)
            return best
        variants = self._variants(templates, words)
        if len(variants) + 1 >= _VARIANTS_MAX:
            return self._join(service, templates, variants, words, now_ns)
        if not self._has_room(service):
            return None
        return self._add(service, self._leaf(service, words), words, now_ns)

    def _variants(self, templates: list[_Template], words: tuple[str, ...]) -> list[_Template]:
        """Those that differ from these words in the same few places; of several such sets the largest."""
        by_places: dict[tuple[int, ...], list[_Template]] = {}
        for each in templates:
            places = tuple(
                at
                for at, (one, two) in enumerate(zip(each.words, words, strict=True))
                if one != two
            )
            if len(words) - len(places) >= _ALIKE_RATIO * len(words):
                by_places.setdefault(places, []).append(each)
        return max(by_places.values(), key=len, default=[])

    def _join(
        self,
        service: str,
        templates: list[_Template],
        variants: list[_Template],
        words: tuple[str, ...],
        now_ns: int,
    ) -> _Template:
        joined = tuple(
            word if all(each.words[at] == word for each in variants) else VARYING
            for at, word in enumerate(words)
        )
        for each in variants:
            templates.remove(each)
        self._counts[service] -= len(variants)
        self._known.clear()
        return self._add(service, templates, joined, now_ns)

    def _add(
        self, service: str, templates: list[_Template], words: tuple[str, ...], now_ns: int
    ) -> _Template:
        made = _Template(words=words, text=" ".join(words)[:_TEMPLATE_CHARS_MAX], last_ns=now_ns)
        templates.append(made)
        self._counts[service] = self._counts.get(service, 0) + 1
        self.is_changed = True
        return made

    def _leaf(self, service: str, words: tuple[str, ...]) -> list[_Template]:
        return self._services.setdefault(service, {}).setdefault(_place(words), [])

    def _has_room(self, service: str) -> bool:
        if service not in self._services and len(self._services) >= self._settings.services_max:
            return False
        return self._counts.get(service, 0) < self._settings.per_service_max


def _place(words: tuple[str, ...]) -> tuple[int, str]:
    # Where the first word varies lines are told apart by their length alone.
    first = words[0]
    return len(words), VARYING if "*" in first else first


def _fits(template: tuple[str, ...], words: tuple[str, ...]) -> bool:
    return all(one in (two, VARYING) for one, two in zip(template, words, strict=True))

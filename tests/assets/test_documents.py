"""Goal: whoever follows the documents arrives. Method: links, names and headings are held against the tree."""

from __future__ import annotations

import re
from pathlib import Path
from xml.etree import ElementTree

import pytest

from sentinel.core.model import Gate, Reason
from sentinel.runtime.catalogue import CATALOGUE
from sentinel.runtime.verdict_metrics import SERIES_METRICS
from sentinel.web.index_page import PAGES
from sentinel.web.metrics import LATENCY_METRIC

ROOT = Path(__file__).parents[2]
DOCUMENTS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
IDS = [str(path.relative_to(ROOT)) for path in DOCUMENTS]
COMPONENT_PACKAGES = ("receivers", "scrapers", "senders")


def _prose(path: Path) -> str:
    return re.sub(r"```.*?```|`[^`\n]*`", "", path.read_text(), flags=re.DOTALL)


def _anchors(path: Path) -> set[str]:
    headings = re.findall(r"(?m)^#+ (.*)$", path.read_text())
    return {re.sub(r"[^\w\- ]", "", one.lower()).replace(" ", "-") for one in headings}


@pytest.mark.parametrize("path", DOCUMENTS, ids=IDS)
def test_every_link_leads_somewhere(path: Path) -> None:
    dead = []
    for target in re.findall(r"\]\(([^)\s]+)\)", _prose(path)):
        if target.startswith(("http://", "https://", "mailto:")):
            continue
        name, _, anchor = target.partition("#")
        found = (path.parent / name).resolve() if name else path
        anchors = {"", *_anchors(found)} if found.is_file() else {""}
        if not found.exists() or anchor not in anchors:
            dead.append(target)
    assert dead == []


@pytest.mark.parametrize("path", DOCUMENTS, ids=IDS)
def test_a_document_has_one_title(path: Path) -> None:
    text = re.sub(r"```.*?```", "", path.read_text(), flags=re.DOTALL)
    assert len(re.findall(r"(?m)^# ", text)) == 1


def test_every_component_has_its_page() -> None:
    components = {
        path.stem
        for package in COMPONENT_PACKAGES
        for path in (ROOT / "sentinel" / package).glob("*.py")
        if path.stem != "__init__"
    }
    assert components
    pages = {path.stem for path in (ROOT / "docs/components").glob("*.md")}
    assert components - pages == set()


def test_every_reason_of_a_verdict_is_explained() -> None:
    """`no_scale` was on the page of series and in no document."""
    rows = re.findall(r"(?m)^\| `([a-z_]+)` \|", (ROOT / "docs/components/web.md").read_text())
    assert sorted(rows) == sorted(reason.name.lower() for reason in Reason)


def test_every_gate_is_explained_in_the_order_in_which_they_act() -> None:
    rows = re.findall(
        r"(?m)^\| `([a-z_]+)` \|", (ROOT / "docs/components/verdicts.md").read_text()
    )
    assert rows == [gate.name.lower() for gate in Gate if gate is not Gate.NONE]


def test_every_page_of_the_index_is_documented() -> None:
    text = (ROOT / "docs/components/web.md").read_text()
    assert [path for path in PAGES if f"| `{path}` |" not in text] == []


def test_the_architecture_names_every_package() -> None:
    tree = (ROOT / "docs/architecture.md").read_text()
    packages = {
        path.parent.name
        for pattern in ("*/__init__.py", "core/*/__init__.py")
        for path in (ROOT / "sentinel").glob(pattern)
    }
    assert {name for name in packages if f"{name}/" not in tree} == set()


def test_every_decision_is_listed_and_says_what_it_costs() -> None:
    listed = (ROOT / "docs/decisions/index.md").read_text()
    pages = sorted((ROOT / "docs/decisions").glob("[0-9]*.md"))
    numbers = [path.name[:4] for path in pages]
    assert numbers == [f"{number:04}" for number in range(1, len(pages) + 1)]
    for path in pages:
        text = path.read_text()
        assert f"({path.name})" in listed
        for heading in ("Question", "Choice", "Why", "Price"):
            assert f"\n## {heading}\n" in text


def test_every_runbook_is_listed_by_its_own_first_words() -> None:
    """The list once said "three days" where the alert's page and its rule said six hours."""
    listed = (ROOT / "docs/runbooks/index.md").read_text().splitlines()
    entries = sorted(line for line in listed if line.startswith("- ["))
    pages = sorted(set((ROOT / "docs/runbooks").glob("*.md")) - {ROOT / "docs/runbooks/index.md"})
    first = [path.read_text().splitlines()[2] for path in pages]
    assert all(line.startswith("Severity: ") for line in first)
    assert entries == sorted(
        f"- [{path.stem}]({path.name}): {line}" for path, line in zip(pages, first, strict=True)
    )


def test_every_component_page_is_in_the_table_of_documents() -> None:
    table = (ROOT / "docs/index.md").read_text()
    pages = [path.name for path in (ROOT / "docs/components").glob("*.md")]
    assert [name for name in pages if f"(components/{name})" not in table] == []


def test_the_glossary_defines_each_word_once() -> None:
    words = [
        word
        for row in re.findall(r"(?m)^\| ([a-z ,-]+) \|", (ROOT / "docs/glossary.md").read_text())
        for word in row.split(", ")
    ]
    assert len(words) > 30
    assert len(set(words)) == len(words)


@pytest.mark.parametrize(
    ("picture", "shown_by"), [("picture.svg", "README.md"), ("band.svg", "docs/band.md")]
)
def test_a_picture_is_drawn_and_says_what_it_shows(picture: str, shown_by: str) -> None:
    root = ElementTree.parse(ROOT / "docs" / picture).getroot()
    title = root.find("{http://www.w3.org/2000/svg}title")
    assert title is not None
    assert title.text
    assert not [element for element in root.iter() if element.tag.endswith(("script", "image"))]
    assert picture in (ROOT / shown_by).read_text()


def test_the_readme_shows_the_two_commands_and_the_limits() -> None:
    text = (ROOT / "README.md").read_text()
    for needed in ("make demo", "make test", "docs/limits.md", "docs/index.md"):
        assert needed in text


@pytest.mark.parametrize("guide", ["troubleshooting.md", "migration.md", "band.md", "limits.md"])
def test_a_guide_names_metrics_and_settings_that_are_there(guide: str) -> None:
    text = (ROOT / "docs" / guide).read_text()
    told = {one.name for one in CATALOGUE} | {*SERIES_METRICS, LATENCY_METRIC}
    for name in re.findall(r"`(sentinel_[a-z_]+)[`{]", text):
        assert name in told, name
    settings = (ROOT / "docs/configuration.md").read_text()
    sections = set(re.findall(r"(?m)^## `([a-z_]+)", settings))
    for path in re.findall(r"`([a-z_]+(?:\.[a-z_0-9]+)+)[`:]", text):
        section, _, rest = path.partition(".")
        if section in sections:
            assert path in settings or f"| `{rest.rpartition('.')[2]}` |" in settings, path

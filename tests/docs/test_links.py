"""Links and paths in the Markdown pages lead to something, the README stays short, and tests/README.md is complete."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FOLDERS = ("docs", "tests", "examples", "benchmarks", "results")
PAGES = sorted([*ROOT.glob("*.md"), *(page for folder in FOLDERS for page in (ROOT / folder).rglob("*.md"))])
TOP = ("src", "tests", "docs", "examples", "benchmarks", "studies", "results", "tools", ".ci")
LINK = re.compile(r"\]\(([^)\s]+)\)")
PATH = re.compile(rf"`((?:{'|'.join(map(re.escape, TOP))})/[\w./*-]*)`")


def without_code(page: str) -> str:
    """Return a page without its fenced blocks."""
    return re.sub(r"^```.*?^```", "", page, flags=re.M | re.S)


def anchors(page: str) -> set[str]:
    """Return the names that a page's headings have in links."""
    headings = re.findall(r"^#+ (.+)$", without_code(page), re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_to_files_and_headings(page):
    missing = []
    for link in LINK.findall(without_code(page.read_text(encoding="utf-8"))):
        if re.match(r"[a-z]+:", link):
            continue
        path, _, anchor = link.partition("#")
        target = page.parent / path if path else page
        if not target.exists() or (anchor and anchor not in anchors(target.read_text(encoding="utf-8"))):
            missing.append(link)
    assert missing == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_paths_in_backticks_exist(page):
    paths = PATH.findall(page.read_text(encoding="utf-8"))
    named = [path for path in paths if "NAME" not in path]  # a name for the reader to choose
    assert [path for path in named if not any(ROOT.glob(path.rstrip("/")))] == []


def test_the_test_of_paths_sees_some():
    assert len(PATH.findall((ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8"))) > 10


def test_the_readme_is_short():
    assert len((ROOT / "README.md").read_text(encoding="utf-8").split()) <= 1200


def test_every_page_of_the_docs_is_in_their_list():
    index = (ROOT / "docs" / "README.md").read_text(encoding="utf-8")
    pages = [page.name for page in (ROOT / "docs").glob("*.md") if page.name != "README.md"]
    assert [page for page in pages if f"({page})" not in index] == []


def test_tests_that_mirror_no_module_are_in_their_list():
    listed = PATH.findall((ROOT / "tests" / "README.md").read_text(encoding="utf-8"))
    unlisted = []
    for test in sorted((ROOT / "tests").rglob("test_*.py")):
        module = ROOT / "src/sautomed" / test.relative_to(ROOT / "tests").with_name(test.stem.removeprefix("test_"))
        places = {str(place.relative_to(ROOT)) for place in (test, *test.parents) if place.is_relative_to(ROOT)}
        if not (module.with_suffix(".py").exists() or module.is_dir() or places & set(listed)):
            unlisted.append(str(test.relative_to(ROOT)))
    assert unlisted == []

"""docs/troubleshooting.md explains every complaint the code can make, and none that it cannot."""

import re
from pathlib import Path

import pytest
from course_address import setup_cell
from error_texts import PLACEHOLDER, all_texts, complaints, texts_of

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "troubleshooting.md"
KIT = ROOT / "scripts" / "kit"
# what a learner runs, and how many complaints there are at least: fewer, and the reader of the code has stopped working
SOURCES = {ROOT / "tlhelpers": 190, ROOT / "scripts" / "setup_env.py": 10, KIT: 3}
FIRST_CELL = setup_cell(("owner/name", "main"))  # of a notebook that fetches the course
ENTRY = re.compile(r"^\*\*`(.+)`\*\*\\$", re.MULTILINE)  # a message in bold, its explanation in the next line


def page() -> str:
    return PAGE.read_text(encoding="utf-8")


def entries(text: str) -> list[str]:
    return ENTRY.findall(text)


def not_explained(places: dict[str, str], text: str) -> list[str]:
    listed = set(entries(text))
    return [f"{place}: {complaint}" for complaint, place in places.items() if complaint not in listed]


def invented(text: str, known: list[str]) -> list[str]:
    """The entries whose longest part without a … stands nowhere in the code."""
    everything = "\n".join(known)
    return [entry for entry in entries(text) if max(entry.split(PLACEHOLDER), key=len).strip() not in everything]


def slug(heading: str) -> str:
    """The anchor that GitHub and the site give a heading."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


@pytest.mark.parametrize("source", SOURCES, ids=lambda path: path.name)
def test_every_complaint_of_the_code_is_on_the_page(source):
    places = texts_of(source)
    assert len(places) >= SOURCES[source]
    missing = not_explained(places, page())
    assert not missing, "docs/troubleshooting.md lacks an entry **`text`**\\ for\n" + "\n".join(missing)


def test_the_complaint_of_the_first_cell_is_on_the_page():
    places = dict.fromkeys(complaints(FIRST_CELL), "the setup cell")
    assert places and not not_explained(places, page())


def test_every_entry_of_the_page_is_a_text_of_the_code():
    files = [file for source in SOURCES for file in ([source] if source.is_file() else source.rglob("*.py"))]
    known = [text for file in files for text in all_texts(file.read_text(encoding="utf-8"))]
    known += [text for source in SOURCES for text in texts_of(source)]
    known += [text.replace("{}", PLACEHOLDER) for text in known]  # templates filled in by str.format
    known += [FIRST_CELL, *(file.read_text(encoding="utf-8") for file in KIT.glob("start*.*"))]
    gone = invented(page(), known)
    assert not gone, "docs/troubleshooting.md explains what no code says:\n" + "\n".join(gone)


def test_every_entry_has_its_own_text_and_says_what_to_do():
    listed = entries(page())
    assert len(listed) > 200 and len(set(listed)) == len(listed)
    blocks = page().split("\n\n")
    for block in blocks:
        if ENTRY.match(block):
            assert "**Do:**" in block, f"no action in the entry {block.splitlines()[0]}"


def test_a_bold_message_is_always_an_entry():
    """A missing backslash at the end of the line would hide an entry from the other tests."""
    assert len(re.findall(r"^\*\*`", page(), re.MULTILINE)) == len(entries(page()))


def test_the_index_leads_to_every_section_and_every_link_to_a_heading():
    headings = [line.lstrip("# ") for line in page().splitlines() if re.match(r"#{2,3} ", line)]
    anchors = [slug(heading) for heading in headings]
    links = re.findall(r"\]\(#([^)]+)\)", page())
    assert len(set(anchors)) == len(anchors)
    assert sorted(set(links) - set(anchors)) == []
    sections = [slug(line[4:]) for line in page().splitlines() if line.startswith("### ")]
    assert sorted(set(sections) - set(links)) == []


def test_there_are_ten_problems_and_each_says_what_is_seen_why_and_what_to_do():
    ten = page().split("## The ten most common problems")[1].split("\n## ")[0]
    problems = re.split(r"^### ", ten, flags=re.MULTILINE)[1:]
    assert len(problems) == 10
    for problem in problems:
        assert all(word in problem for word in ("You see: ", "Why: ", "Do")), problem.splitlines()[0]


def test_a_new_error_and_a_forgotten_entry_are_noticed():
    code = (
        'def f(n):\n    if n < 1:\n        raise CourseError(f"n={n!r} must be at least {least}: give a larger one.")'
    )
    new = dict.fromkeys(complaints(code), "new.py:3")
    assert not_explained(new, page()) == ["new.py:3: n=… must be at least …: give a larger one."]
    text = "**`n=… must be at least …: give a larger one.`**\\\nToo small. **Do:** 2.\n"
    assert not_explained(new, text) == []
    assert invented(text, all_texts(code)) == []
    assert invented(text, all_texts("x = 1")) == ["n=… must be at least …: give a larger one."]


def test_a_changed_word_is_noticed():
    text = "**`n=… must be at most …: give a larger one.`**\\\nToo small. **Do:** 2.\n"
    code = 'raise CourseError(f"n={n!r} must be at least {least}: give a larger one.")'
    assert not_explained(dict.fromkeys(complaints(code), "x"), text)

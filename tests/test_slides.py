"""The slides: what the rule makes of a made-up lesson, that nothing is too high, and the decks in a browser."""

import importlib.util
import os
import re
import subprocess
import sys

import build_slides
import check_site
import nbformat
import pytest
from built_folder import LIST
from made_up_lesson import code, figure, lesson, printed
from nbformat.v4 import new_markdown_cell

if build_slides.absent and "sphinx-revealjs" not in build_slides.absent:
    pytest.skip(f"not installed: {', '.join(build_slides.absent)}", allow_module_level=True)
pytest.importorskip("markdown_it", reason="markdown-it-py is not installed")

from lesson_parts import items_of, key_sentences, lead_of, opening  # noqa: E402
from lesson_slides import make_deck  # noqa: E402
from site_pages import SiteError  # noqa: E402
from slide_blocks import CODE_SIZES, ROOM, best_size, code_blocks, code_height, output_pages, table_blocks  # noqa: E402


def slides_of(notebook) -> list:
    return [slide for stack in make_deck(notebook, "09_tiny").stacks for slide in stack]


def shown(slide) -> str:
    return re.sub(r"<[^>]+>", "", "\n".join(block.html for block in slide.blocks))


def by_heading(slides, heading: str) -> list:
    return [slide for slide in slides if slide.heading == heading]


def test_the_slides_of_a_lesson_in_order():
    headings = [slide.heading for slide in slides_of(lesson())]
    assert headings == [
        "09 · Tiny",
        "What you will be able to do",
        "1 · Numbers",
        "Predict",
        "1 · Numbers",
        "1 · Numbers",
        "Exercise 09.1: Double it",
        "Take-aways",
        "Quiz 1",
        "Further reading",
        "That was it",
    ]


def test_sections_are_stacks_of_their_own():
    stacks = make_deck(lesson(), "x").stacks
    assert [stack[0].heading for stack in stacks][:3] == ["09 · Tiny", "What you will be able to do", "1 · Numbers"]
    assert len(stacks[2]) == 5  # its title, the question, code, figure, exercise


def test_a_prediction_comes_before_its_code_and_alone():
    slides = slides_of(lesson())
    place = next(i for i, slide in enumerate(slides) if slide.heading == "Predict")
    assert shown(slides[place]) == "Which one will it be?"
    assert "print(6 * 7)" in shown(slides[place + 1]) and "42" in shown(slides[place + 1])


@pytest.mark.parametrize("mark", ["**Predict:**", "**Predict.**", "**Predict again.**"])
def test_every_way_to_ask_for_a_prediction(mark):
    cells = [new_markdown_cell(f"Some words. {mark} how many?"), code("print(3)", printed("3\n"))]
    assert "How many?" in [shown(slide) for slide in by_heading(slides_of(lesson(cells)), "Predict")]


def test_prose_is_said_and_its_main_sentence_appears_below_the_output():
    slide = by_heading(slides_of(lesson()), "1 · Numbers")[1]
    assert "fragment" in slide.blocks[-1].html and "forty-two" in slide.blocks[-1].html
    assert "said, not shown" in " ".join(slide.notes) and "said, not shown" not in shown(slide)
    assert slide.tag == "type along" and "NBVAL" not in shown(slide)


def test_a_figure_has_its_sentence_as_caption_and_text():
    slide = by_heading(slides_of(lesson()), "1 · Numbers")[2]
    html = slide.blocks[-2].html + slide.blocks[-1].html
    assert 'alt="Two bars, a and b; the dots are seeds."' in html and "<figcaption>Two bars" in html
    assert "What the figure shows" not in shown(slide)


def test_a_tall_figure_gets_the_slide_and_its_short_code_the_notes():
    cells = [
        code("plot()\nplt.show()", figure(width=600, height=500)),
        new_markdown_cell("*What the figure shows:* a tall one."),
    ]
    slide = next(slide for slide in slides_of(lesson(cells)) if "A tall one." in shown(slide))
    assert "plot()" not in shown(slide) and "plot()" in " ".join(slide.notes)


def test_an_exercise_shows_task_and_starter_and_keeps_the_solution_in_the_notes():
    slide = by_heading(slides_of(lesson()), "Exercise 09.1: Double it")[0]
    assert "Return twice the number." in shown(slide) and "y = ..." in shown(slide)
    assert "2 * x" not in shown(slide) and "[..]" not in shown(slide)
    assert "2 * x" in " ".join(slide.notes) and "Hint 1" in " ".join(slide.notes)


def test_a_quiz_question_shows_its_options_and_explains_on_clicks():
    slide = by_heading(slides_of(lesson()), "Quiz 1")[0]
    assert "What is 1 + 1?" in slide.blocks[0].html
    assert [block.html.count("fragment") for block in slide.blocks[1:]] == [1, 1]
    assert 'why right">Right. Count them.' in slide.blocks[1].html and "B · Three" in slide.blocks[2].html


def test_the_setup_cell_is_no_slide():
    assert not any("tl.start" in shown(slide) for slide in slides_of(lesson()))


LONG_CODE = "\n".join(f"value_{i} = {i}" + ("\n" if i % 9 == 0 else "") for i in range(60))
LONG_LINE = "x = " + " + ".join(f"number_{i}" for i in range(40))


def overfull() -> list:
    wide = " ".join(["many words"] * 12)
    table = "\n".join(["| a | b |", "|---|---|", *[f"| {i} | {wide} |" for i in range(30)]])
    return [
        new_markdown_cell("## 2 · Too much\n\n" + "\n".join(f"- **{i}** {wide}" for i in range(20))),
        new_markdown_cell(table),
        code(LONG_CODE, printed("\n".join(f"line {i}" for i in range(200)))),
        new_markdown_cell(" ".join(f"A **word{i}** and {wide}." for i in range(15))),
        code(LONG_LINE, printed(LONG_LINE * 3)),
        new_markdown_cell("That was long."),
        code("plot()\n" + LONG_CODE[:300], figure(width=900, height=1800)),
        new_markdown_cell("*What the figure shows:* a tower."),
    ]


def test_nothing_is_higher_than_a_slide():
    slides = slides_of(lesson(overfull()))
    too_high = [(s.heading, s.room) for s in slides if s.room < -0.5]
    assert not too_high
    sizes = [int(size) for s in slides for b in s.blocks for size in re.findall(r"<pre[^>]*font-size: (\d+)px", b.html)]
    assert min(sizes) >= 16
    assert "value_59" in "".join(map(shown, slides))  # split, nothing of the code is lost


def test_long_output_is_cut_and_says_so():
    pages = output_pages("\n".join(str(i) for i in range(200)))
    assert len(pages) == 2
    kept = sum(page.count("\n") + 1 for page in pages) - 1
    assert pages[-1].endswith(f"… and {200 - kept} more lines in the notebook")
    assert output_pages("one\ntwo") == ["one\ntwo"]


def test_code_takes_the_largest_size_that_fits():
    assert best_size(["a = 1"], ROOM) == CODE_SIZES[0]
    assert best_size(["x" * 100], ROOM) < CODE_SIZES[0]
    assert best_size([LONG_CODE], ROOM) is None
    assert len(code_blocks(LONG_CODE, ROOM)) > 1
    assert code_height("x" * 400, 20) > 3 * code_height("x", 20) / 2


def test_a_long_table_repeats_its_head():
    blocks = table_blocks("| name | b |\n|---|---|\n" + "\n".join(f"| {i} | x |" for i in range(40)))
    assert len(blocks) > 1 and all("<th>name</th>" in block.html and block.height <= ROOM for block in blocks)


def test_sentences_worth_showing():
    assert key_sentences("First. It is a **head**. Nothing here.") == ["First. It is a **head**."]
    assert key_sentences("A **body**. This is a **head**.") == ["A **body**. This is a **head**."]
    assert opening("Short. Also short. " + "Long " * 40 + ".") == "Short. Also short."
    assert (lead_of("We look. Like this:"), lead_of("Why? Because."), lead_of("A b. C d.")) == (
        "Like this:",
        "",
        "A b.",
    )


@pytest.mark.parametrize(
    ("source", "items"),
    [
        ("- one\n  goes on\n- **two**", ["one goes on", "**two**"]),
        ("1. one\n2. two", ["one", "two"]),
        ("- one\n  - inner\n    - most\n- two", ["one", "inner", "most", "two"]),
        ("- one:\n\n  ```python\n  - x\n  y = 1\n  ```\n- two", ["one: `` - x `` `` y = 1 ``", "two"]),
    ],
)
def test_the_items_of_a_list(source, items):
    assert items_of(source) == items


def test_what_is_no_lesson_is_named(tmp_path, capsys):
    notebook = lesson()
    notebook.cells[0].source = "no title"
    with pytest.raises(SiteError, match="09_x.*title"):
        make_deck(notebook, "09_x")
    assert build_slides.main(["--notebooks", str(tmp_path), "--out", str(tmp_path / "out")]) == 2
    said = capsys.readouterr().err
    assert "make notebooks" in said or "slides need" in said


def test_without_reveal_it_says_how_to_install_it(monkeypatch, capsys):
    monkeypatch.setattr(build_slides, "absent", ["sphinx-revealjs"])
    assert build_slides.main([]) == 2
    assert (
        'sphinx-revealjs. Install what is missing: .venv/bin/python -m pip install -e ".[site]"'
        in capsys.readouterr().err
    )


@pytest.fixture
def decks(tmp_path):
    if build_slides.absent:
        pytest.skip(f"not installed: {', '.join(build_slides.absent)}")
    (tmp_path / "notebooks").mkdir()
    nbformat.write(lesson(overfull()), tmp_path / "notebooks" / "09_tiny.ipynb")
    out = tmp_path / "slides"
    assert build_slides.main(["--notebooks", str(tmp_path / "notebooks"), "--out", str(out)]) == 0
    return out


def test_a_deck_loads_nothing_from_elsewhere(decks):
    deck = (decks / "09_tiny.html").read_text(encoding="utf-8")
    for text in (deck, (decks / "index.html").read_text(encoding="utf-8")):
        assert not re.findall(r'(?:src|<link[^>]*href)="(?:https?:)?//[^"]*"', text)
    for file in re.findall(r'(?:src|<link[^>]*href)="([^"]+)"', deck):
        assert (decks / file).is_file(), file
    assert "@import" not in (decks / "slides.css").read_text(encoding="utf-8")
    assert deck.count("<h1>") == 1 and '<html lang="en">' in deck
    assert '<a href="09_tiny.html">09 · Tiny</a>' in (decks / "index.html").read_text(encoding="utf-8")


def test_one_deck_is_built_anew_and_the_others_stay(decks):
    notebooks = decks.parent / "notebooks"
    other = lesson()
    other.cells[0].source = "# 10 · Other\n\nWords."
    for name in ("10_other", "11_gone"):
        nbformat.write(other, notebooks / f"{name}.ipynb")
    assert build_slides.main(["--notebooks", str(notebooks), "--out", str(decks)]) == 0
    before = {path.relative_to(decks): path.read_bytes() for path in decks.rglob("*") if path.is_file()}
    (notebooks / "11_gone.ipynb").unlink()
    other.cells[0].source = "# 10 · Anew & more\n\nWords."
    nbformat.write(other, notebooks / "10_other.ipynb")
    assert build_slides.main(["--notebooks", str(notebooks), "--out", str(decks), "--only", "10"]) == 0
    after = {path.relative_to(decks): path.read_bytes() for path in decks.rglob("*") if path.is_file()}
    gone = {path for path in before if path.name.startswith("11_gone")}
    assert len(gone) > 1 and set(after) == set(before) - gone
    changed = {path.name for path in after if after[path] != before[path]}
    assert changed == {"10_other.html", "index.html", LIST}
    index = (decks / "index.html").read_text(encoding="utf-8")
    assert (
        '<a href="09_tiny.html">09 · Tiny</a>' in index and '<a href="10_other.html">10 · Anew &amp; more</a>' in index
    )
    assert re.findall(r"(\d+) slides", index)[1] == str(len(slides_of(other)))


def test_the_slides_take_only_the_place_of_slides(decks, tmp_path, capsys):
    (tmp_path / "thesis.txt").write_text("years", encoding="utf-8")
    assert build_slides.main(["--notebooks", str(tmp_path / "notebooks"), "--out", str(tmp_path)]) == 1
    assert "was not built as slides" in capsys.readouterr().err
    assert (tmp_path / "thesis.txt").exists() and decks.exists()


def test_a_deck_that_never_starts_is_a_finding_and_the_others_are_looked_at(tmp_path):
    if not check_site.find_browser() or importlib.util.find_spec("playwright") is None:
        pytest.skip("no Chromium, or the package playwright is not installed")
    page = '<!doctype html><html lang="en"><head><title>T</title></head><body><h1>T</h1>{}</body></html>'
    for name, inside in {"index": "", "01_a": "", "02_b": '<img src="missing.png" alt="x">'}.items():
        (tmp_path / f"{name}.html").write_text(page.format(inside), encoding="utf-8")
    program = "import sys, check_site; check_site.READY = 300; sys.exit(check_site.main(sys.argv[1:]))"
    command = [sys.executable, "-c", program, "--slides", str(tmp_path)]
    environment = {**os.environ, "PYTHONPATH": os.path.dirname(check_site.__file__)}
    result = subprocess.run(command, capture_output=True, text=True, timeout=300, env=environment)
    said = result.stdout + result.stderr
    assert result.returncode == 1 and "Traceback" not in said, said
    assert "01_a.html: it does not answer" in said and "02_b.html: not loaded" in said


@pytest.mark.skipif(
    not check_site.find_browser() or importlib.util.find_spec("playwright") is None,
    reason="no Chromium, or the package playwright is not installed",
)
def test_every_slide_fits_in_a_browser_and_one_that_does_not_is_found(decks):
    text = (decks / "09_tiny.html").read_text(encoding="utf-8")
    text = text.replace("</h2>", '</h2><div style="height: 700px">x</div>', 1)
    bad = text.replace('<pre class="code" style="font-size: 26px">', '<pre style="font-size: 9px">', 1)
    (decks / "10_bad.html").write_text(bad, encoding="utf-8")
    command = [sys.executable, check_site.__file__, "--slides", str(decks)]
    result = subprocess.run(command, capture_output=True, text=True, timeout=300)
    said = result.stdout + result.stderr
    assert result.returncode == 1 and "2 decks" in said
    assert re.search(r"10_bad.html: slide 2 .* px high, at most 720", said), said
    assert "text of 9 px" in said
    assert "  09_tiny.html" not in said, said

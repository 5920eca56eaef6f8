"""The site: text alternatives, links, folding blocks, no other host; and check_site.py on pages with planted faults."""

import importlib.util
import re
import shutil
import subprocess
import sys
from pathlib import Path

import build_site
import check_site
import nbformat
import pytest
from built_folder import FolderError, built_folder
from made_up_lesson import lesson
from site_pages import SiteError, figure_text, licence_page, notebook_page, plain, rewrite_links, start_page

LICENCES = ("LICENSE", "LICENSE-docs", "CITATION.cff")
GITHUB, NOWHERE = ("owner/name", "v1"), ("", "main")


@pytest.fixture
def course(tmp_path):
    """A small repository: one lesson with its solution, two guides, a data card, a script."""
    root = tmp_path / "course"
    files = {
        "README.md": "# A course\n\n[Lesson](notebooks/09_tiny.ipynb), [guide](docs/results.md#two), "
        "[the program](scripts/tool.py), [licence](LICENSE), [folder](notebooks/solutions).\n\n## Install\n\nRun it.\n",
        "docs/results.md": "# Results\n\n## Two\n\n[Back](../README.md#install), [data](../data/README.md)\n",
        "docs/colab.md": "# Colab\n\n[![Open In Colab](https://badges.example/b.svg)](https://colab.example/x)\n\n"
        "```python\n!unzip x.zip\n```\n",
        "data/README.md": "# Data card\n\nDrawn. BatchNorm.\n",
        "scripts/tool.py": "",
        "pyproject.toml": '[project]\nname = "x"\nversion = "1.0"\n[tool.tlcourse]\nrepo = ""\nref = "main"\n',
        **{name: f"{name} text\n" for name in LICENCES},
    }
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text, encoding="utf-8")
    for folder in ("notebooks", "notebooks/solutions"):
        (root / folder).mkdir(exist_ok=True)
        nbformat.write(lesson(), root / folder / "09_tiny.ipynb")
    return root


def rewritten(course, text, path="README.md", address=NOWHERE):
    pages = {"notebooks/09_tiny.ipynb", "notebooks/solutions/index.md", "docs/results.md", "data/README.md",
             "licence.md", "index.md"}  # fmt: skip
    return rewrite_links(text, path, pages, course, address)


def test_a_figure_gets_the_sentence_below_it_as_text():
    assert figure_text(lesson(), 6, "x") == "Two bars, a and b; the dots are seeds."


def test_a_figure_without_its_sentence_is_named():
    notebook = lesson()
    notebook.cells[7].source = "Nothing about it."
    with pytest.raises(SiteError, match=r"09_tiny.*What the figure shows.*plot\(values\)"):
        figure_text(notebook, 6, "09_tiny")


def test_plain_text_has_no_marks():
    assert plain("**Bold** and *soft*, `a_b*c*d`\nand [a link](x.md)") == "Bold and soft, a_b*c*d and a link"


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("[a](docs/results.md#two)", "[a](/docs/results.md#two)"),
        ("[a](notebooks/09_tiny.ipynb)", "[a](/notebooks/09_tiny.ipynb)"),
        ("[a](LICENSE), [b](data)", "[a](/licence.md), [b](/data/README.md)"),
        ("[a](#install), [b](https://example.org)", "[a](#install), [b](https://example.org)"),
        ("[the program](scripts/tool.py)", "the program (`scripts/tool.py`)"),
        ("[`scripts/tool.py`](scripts/tool.py)", "`scripts/tool.py`"),
        ("`[a](docs/none.md)`", "`[a](docs/none.md)`"),
        ("```\n[a](docs/none.md)\n```", "```\n[a](docs/none.md)\n```"),
        ("[![Open](https://x.example/b.svg)](https://y.example)", "[Open](https://y.example)"),
    ],
)
def test_links_of_the_repository_become_links_of_the_site(course, text, wanted):
    assert rewritten(course, text) == wanted


def test_with_a_public_address_files_are_shown_there(course):
    assert rewritten(course, "[x](../scripts/tool.py)", "docs/results.md", GITHUB) == (
        "[x](https://github.com/owner/name/blob/v1/scripts/tool.py)"
    )
    assert "/tree/v1/scripts)" in rewritten(course, "[x](scripts)", address=GITHUB)
    elsewhere = ("https://git.example/course", "main")  # where files are shown there, nobody knows
    assert rewritten(course, "[x](scripts/tool.py)", address=elsewhere) == "x (`scripts/tool.py`)"


@pytest.mark.parametrize("target", ["docs/none.md", "../outside.md", "notebooks/none.ipynb"])
def test_a_link_to_nothing_is_an_error(course, target):
    with pytest.raises(SiteError, match=f"README.md.*{re.escape(target)}.*nowhere"):
        rewritten(course, f"[x]({target})")


def test_a_notebook_page_keeps_the_notebook_and_says_where_the_copies_are():
    notebook = lesson()
    before = nbformat.writes(notebook)
    page = notebook_page(notebook, "notebooks/09_tiny.ipynb", lambda text: text, "notebooks/solutions/09_tiny.ipynb")
    assert nbformat.writes(notebook) == before
    assert "files/notebooks/09_tiny.ipynb" in page.cells[1].source
    assert "(/notebooks/solutions/09_tiny.ipynb)" in page.cells[1].source
    assert [c.metadata["mystnb"]["image"]["alt"] for c in page.cells if "mystnb" in c.metadata] == [
        "Two bars, a and b; the dots are seeds."
    ]
    assert not any("NBVAL" in cell.source for cell in page.cells)


def test_a_solved_page_says_so_first():
    page = notebook_page(lesson(), "notebooks/solutions/09_tiny.ipynb", str, "notebooks/09_tiny.ipynb")
    assert page.cells[0].source.startswith("# Solved: 09 · Tiny")
    assert "warning" in page.cells[1].source and "(/notebooks/09_tiny.ipynb)" in page.cells[1].source


def test_the_start_page_is_the_readme_with_the_contents_below():
    text = start_page("# A\n\nB\n", ["notebooks/09_tiny.ipynb"], ["docs/results.md"])
    assert text.startswith("# A\n\nB\n")
    for page in ("/notebooks/09_tiny", "/docs/results", "/notebooks/solutions/index", "/data/README", "/licence"):
        assert f"\n{page}\n" in text


def test_licences_stand_word_for_word():
    text = licence_page("MIT words\n", "CC words\n", "cff: 1\n")
    assert all(words in text for words in ("MIT words", "CC words", "cff: 1", "/data/README.md"))


def test_what_is_missing_is_named(course, tmp_path, capsys):
    for name in ("LICENSE", "notebooks/solutions/09_tiny.ipynb", "notebooks/09_tiny.ipynb"):
        (course / name).unlink()
        assert build_site.main(["--root", str(course), "--out", str(tmp_path / "out")]) in (1, 2)
        said = capsys.readouterr().err
        assert Path(name).name in said or "no notebook" in said or "needs Sphinx" in said
    assert not (tmp_path / "out").exists()


def test_without_sphinx_it_says_how_to_install_it(monkeypatch, capsys):
    monkeypatch.setattr(build_site, "absent", ["Sphinx", "Furo"])
    assert build_site.main([]) == 2
    said = capsys.readouterr().err
    assert "Sphinx and Furo" in said and 'pip install -e ".[site]"' in said


needs_sphinx = pytest.mark.skipif(bool(build_site.absent), reason=f"not installed: {', '.join(build_site.absent)}")


@needs_sphinx
def test_a_whole_site(course, tmp_path, capsys):
    out = tmp_path / "site"
    assert build_site.main(["--root", str(course), "--out", str(out)]) == 0, capsys.readouterr().err
    page = (out / "notebooks" / "09_tiny.html").read_text(encoding="utf-8")
    assert re.search(r'<html[^>]* lang="en"', page)
    assert 'alt="Two bars, a and b; the dots are seeds."' in page
    assert page.count("<details><summary>") == 4 and page.count("</details>") == 4
    assert re.search(r"<summary>Solution</summary>\s*<div class=\"highlight-python", page)
    assert 'download=""' in page and "CC BY 4.0" in page.split("<footer>")[1]
    for html in out.rglob("*.html"):
        text = html.read_text(encoding="utf-8")
        loaded = re.findall(r'<(?:script|img|iframe|link)\b[^>]*?(?:src|href)="(https?:[^"]+)"', text)
        assert not loaded, f"{html.name} asks another host: {loaded}"
    start = (out / "index.html").read_text(encoding="utf-8")
    assert 'href="docs/results.html#two"' in start and 'href="notebooks/solutions/index.html"' in start
    assert "batchnorm" in (out / "searchindex.js").read_text(encoding="utf-8")


@needs_sphinx
def test_a_warning_of_sphinx_is_an_error(tmp_path):
    (tmp_path / "conf.py").write_text('extensions = ["myst_parser"]\n', encoding="utf-8")
    (tmp_path / "index.md").write_text("# Results\n\n[x](#no-such-heading)\n", encoding="utf-8")
    with pytest.raises(SiteError, match="index.md.*no-such-heading"):
        build_site.run_sphinx(tmp_path, tmp_path / "out", {"project": "x"})


def test_a_failed_build_leaves_the_old_site(course, tmp_path, monkeypatch):
    if not build_site.absent:
        monkeypatch.setattr(build_site, "run_sphinx", lambda *_: (_ for _ in ()).throw(SiteError("no")))
    with built_folder(tmp_path / "site", "site") as new:
        (new / "old.html").write_text("old", encoding="utf-8")
    assert build_site.main(["--root", str(course), "--out", str(tmp_path / "site")]) in (1, 2)
    assert (tmp_path / "site" / "old.html").exists()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["course", "site"]


# --- built_folder.py ---------------------------------------------------------------------------------------------


def built(out: Path, text: str = "new", kind: str = "site") -> None:
    with built_folder(out, kind) as new:
        (new / "index.html").write_text(text, encoding="utf-8")


def test_a_folder_of_somebody_is_not_touched(course, tmp_path, capsys):
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "thesis.txt").write_text("years", encoding="utf-8")
    for kind in ("site", "slides", "blank"):
        with pytest.raises(FolderError, match=f"mine is not empty and was not built as {kind}"):
            built(mine, kind=kind)
    if not build_site.absent:
        assert build_site.main(["--root", str(course), "--out", str(mine)]) == 1
        assert "not empty" in capsys.readouterr().err
        assert build_site.main(["--root", str(course), "--out", str(mine / "thesis.txt")]) == 1
        assert "thesis.txt is a file: name a folder" in capsys.readouterr().err
    assert [path.name for path in mine.iterdir()] == ["thesis.txt"]
    assert (mine / "thesis.txt").read_text(encoding="utf-8") == "years"


def test_a_folder_built_before_is_replaced_and_one_with_work_is_kept(tmp_path, capsys):
    out = tmp_path / "out"
    out.mkdir()  # an empty one is free
    for text in ("one", "two"):
        built(out, text)
    assert (out / "index.html").read_text(encoding="utf-8") == "two" and len(list(tmp_path.iterdir())) == 1
    with pytest.raises(FolderError, match="was not built as slides"):
        built(out, kind="slides")
    (out / "thesis.txt").write_text("years", encoding="utf-8")
    built(out, "three")
    assert (tmp_path / "out-kept-1" / "thesis.txt").exists() and "out-kept-1" in capsys.readouterr().out


@pytest.mark.parametrize("when", ["while it is written", "while it is renamed"])
def test_a_full_disk_leaves_the_old_folder_whole(tmp_path, monkeypatch, when):
    out = tmp_path / "out"
    built(out, "old")
    full = OSError(28, "No space left on device")
    if when == "while it is renamed":
        rename = Path.rename
        monkeypatch.setattr(
            Path, "rename", lambda self, to: rename(self, to) if self.name != "new" else (_ for _ in ()).throw(full)
        )
    with pytest.raises(FolderError, match="out could not be built.*No space left"):
        with built_folder(out, "site") as new:
            (new / "index.html").write_text("half", encoding="utf-8")
            if when == "while it is written":
                raise full
    assert (out / "index.html").read_text(encoding="utf-8") == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_of_many_files_that_were_not_copied_one_is_named(tmp_path):
    with pytest.raises(FolderError, match=r"unchanged: \[Errno 28\] No space left: 'a'$"):
        with built_folder(tmp_path / "out", "site"):
            raise shutil.Error([(name, name, f"[Errno 28] No space left: '{name}'") for name in "abc"])
    assert not list(tmp_path.iterdir())


def test_the_place_of_a_file_is_refused(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(FolderError, match="could not be built"):
        built(tmp_path / "file" / "site")


# --- check_site.py -----------------------------------------------------------------------------------------------

PAGE = """<!doctype html><html lang="en"><head><title>T</title>
<meta name="viewport" content="width=device-width"></head>
<body><a href="#top">Skip to content</a><nav><a href="index.html">Start</a></nav>
<main id="top"><h1>Top</h1><p>Text.</p>{}</main></body></html>"""
BROWSER = check_site.find_browser()
CANNOT_LOOK = not BROWSER or importlib.util.find_spec("playwright") is None
needs_browser = pytest.mark.skipif(CANNOT_LOOK, reason="no Chromium, or the package playwright is not installed")


@needs_browser
def test_planted_faults_are_found_and_a_good_page_passes(tmp_path):
    bad = (
        '<img src="missing.png" alt="x"><a href="gone.html">a</a><a href="#nowhere">b</a>'
        '<script>console.error("planted")</script><div style="width: 900px">wide</div>'
        '<img src="https://example.invalid/x.png" alt=""><h1>Second</h1><p style="font-size: 9px">tiny</p>'
    )
    (tmp_path / "bad.html").write_text(PAGE.format(bad), encoding="utf-8")
    (tmp_path / "index.html").write_text(PAGE.format('<p><a href="bad.html#top">More</a></p>'), encoding="utf-8")
    command = [sys.executable, check_site.__file__, "--site", str(tmp_path)]
    result = subprocess.run(command, capture_output=True, text=True, timeout=300)
    said = result.stdout + result.stderr
    assert result.returncode == 1 and "2 pages" in said
    for wanted in (
        "broken image: missing.png",
        "gone.html",
        "no such place: bad.html#nowhere",
        "console: planted",
        "screen of 360",
        "asks another host: https://example.invalid/x.png",
        "without alt text",
        "2 top headings",
        "text of 9 px",
    ):
        assert wanted in said, f"{wanted!r} not in:\n{said}"
    assert "  index.html" not in said, said


def test_without_a_browser_or_a_site_it_says_what_to_do(tmp_path, monkeypatch, capsys):
    assert check_site.main(["--site", str(tmp_path), "--slides", str(tmp_path)]) == 2
    assert "make site" in capsys.readouterr().err
    monkeypatch.setattr(check_site, "BUILD", tmp_path / "build")
    assert check_site.main([]) == 2
    assert str(tmp_path / "build" / "slides") in capsys.readouterr().err
    (tmp_path / "index.html").write_text(PAGE, encoding="utf-8")
    monkeypatch.setattr(check_site.importlib.util, "find_spec", lambda name: None)
    assert check_site.main(["--site", str(tmp_path)]) == 2
    assert '".[browser]"' in capsys.readouterr().err
    monkeypatch.setattr(check_site.importlib.util, "find_spec", lambda name: True)
    assert check_site.main(["--site", str(tmp_path), "--browser", "no-such-browser"]) == 2
    assert "no-such-browser" in capsys.readouterr().err


def test_what_is_not_built_is_said_and_what_was_named_must_be_there(tmp_path, monkeypatch, capsys):
    site, slides = tmp_path / "build" / "site", tmp_path / "build" / "slides"
    site.mkdir(parents=True)
    (site / "index.html").write_text(PAGE, encoding="utf-8")
    monkeypatch.setattr(check_site, "BUILD", tmp_path / "build")
    monkeypatch.setattr(check_site.importlib.util, "find_spec", lambda name: None)
    check_site.main([])
    assert "not built, not looked at: build/slides" in capsys.readouterr().out
    assert check_site.main(["--site", str(site), "--slides", str(slides)]) == 2
    said = capsys.readouterr().err
    assert str(slides) in said and str(site) not in said
    check_site.main(["--site", str(site)])
    said = capsys.readouterr()
    assert "not looked at" not in said.out and "No index.html" not in said.err

"""Build the static site of the course: the executed lessons, the guides and the data card, with search. `make site`.

python scripts/build_site.py                    into build/site/; open build/site/index.html, from disk or a server
python scripts/build_site.py --out FOLDER       into another folder, a new one or one that this built before

Sphinx turns the pages into HTML, MyST-NB reads the notebooks (as they are: nothing is executed), Furo is the theme.
All three come with `pip install -e ".[site]"`. No page asks another host for anything.
"""

import argparse
import importlib.util
import shutil
import subprocess
import sys
import time
import tomllib
from pathlib import Path

from built_folder import FolderError, built_folder

ROOT = Path(__file__).resolve().parent.parent
OUT = ROOT / "build" / "site"
TOOLS = {"sphinx": "Sphinx", "myst_nb": "MyST-NB", "furo": "Furo"}
MISSING = 'The site needs {}. Install what is missing: .venv/bin/python -m pip install -e ".[site]"'

absent = [name for module, name in TOOLS.items() if importlib.util.find_spec(module) is None]
if not absent:
    import nbformat
    import site_pages as pages
    from course_address import AddressError, course_address


def read(path: Path) -> str:
    if not path.is_file():
        raise pages.SiteError(f"{path} is missing: build from the whole repository (notebooks: make notebooks)")
    return path.read_text(encoding="utf-8")


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def stage(root: Path, source: Path, address: tuple[str, str]) -> int:
    """Write the pages of the repository at `root` into the folder `source`; returns how many there are."""
    lessons = sorted(path.relative_to(root).as_posix() for path in root.glob("notebooks/[0-9][0-9]_*.ipynb"))
    if not lessons:
        raise pages.SiteError(f"{root / 'notebooks'} has no notebook: make notebooks")
    solutions = [f"notebooks/solutions/{Path(name).name}" for name in lessons]
    guides = [path.relative_to(root).as_posix() for path in sorted(root.glob("docs/*.md"), key=pages.guide_order)]
    every_page = {*lessons, *solutions, *guides, "data/README.md", *pages.OTHER_NAMES.values()}

    def rewriting(name):
        return lambda text: pages.rewrite_links(text, name, every_page, root, address)

    for name, twin in [*zip(lessons, solutions, strict=True), *zip(solutions, lessons, strict=True)]:
        notebook = nbformat.reads(read(root / name), as_version=4)
        page = pages.notebook_page(notebook, name, rewriting(name), twin)
        write(source / name, nbformat.writes(page))
        write(source / "files" / name, read(root / name))
    for name in [*guides, "data/README.md"]:
        text = read(root / name)
        pages.title_of(text, name)
        write(source / name, rewriting(name)(text))
    readme = rewriting("README.md")(read(root / "README.md"))
    write(source / pages.START, pages.start_page(readme, lessons, guides))
    write(source / pages.SOLUTIONS, pages.solutions_page(solutions))
    legal = [read(root / name) for name in ("LICENSE", "LICENSE-docs", "CITATION.cff")]
    write(source / pages.LICENCE, pages.licence_page(*legal))
    for file in (Path(__file__).resolve().parent / "site").glob("*.*"):
        place = source / {".py": "", ".html": "_templates"}.get(file.suffix, "_static")
        place.mkdir(exist_ok=True)
        shutil.copy(file, place)
    return len(every_page)


def run_sphinx(source: Path, out: Path, settings: dict[str, str]) -> None:
    """HTML from the staged pages; SiteError with Sphinx's own words when it warns about anything."""
    command = [sys.executable, "-m", "sphinx", "-b", "html", "-q", "-W", "--keep-going", "-E"]
    command += [part for key, value in settings.items() for part in ("-D", f"{key}={value}")]
    result = subprocess.run([*command, "-d", str(source.parent / "doctrees"), str(source), str(out)], text=True,
                            stdout=subprocess.PIPE, stderr=subprocess.STDOUT)  # fmt: skip
    if result.returncode:
        said = result.stdout.replace(f"{source}/", "").strip()
        raise pages.SiteError(f"Sphinx has something to say about these pages:\n{said}")
    for leftover in (".buildinfo", "objects.inv"):
        (out / leftover).unlink(missing_ok=True)


def build(root: Path, out: Path, address: tuple[str, str]) -> int:
    """The site of the repository at `root` in the folder `out`, which is replaced only when all went well."""
    project = tomllib.loads(read(root / "pyproject.toml"))["project"]
    title = pages.title_of(read(root / "README.md"), "README.md")
    settings = {"project": title, "html_title": title, "release": project["version"]}
    with built_folder(out, "site") as new:
        source = new.with_name("source")
        count = stage(root, source, address)
        run_sphinx(source, new, settings)
    return count


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=OUT, metavar="FOLDER", help="where the site goes")
    parser.add_argument("--root", type=Path, default=ROOT, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if absent:
        print(MISSING.format(" and ".join(absent)), file=sys.stderr)
        return 2
    begin = time.perf_counter()
    try:
        count = build(options.root, options.out, course_address(options.root / "pyproject.toml"))
    except (pages.SiteError, AddressError, FolderError) as error:
        print(error, file=sys.stderr)
        return 1
    print(f"{count} pages in {time.perf_counter() - begin:.0f} s. Open {options.out / 'index.html'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())

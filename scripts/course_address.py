"""Where the course lives in public, from `[tool.tlcourse]` of pyproject.toml, and everything that is made from it.

    repo = "owner/name"    on GitHub: Colab and Binder badges, and a setup cell that fetches the course
    repo = "https://..."   any other place that git can clone from: the setup cell alone (Colab opens GitHub only)
    repo = ""              not published: neither
    ref  = "main"          a branch or a tag; notebooks fetch this one, so that they never meet newer helpers

`make notebooks` writes all of it into the notebooks and into README.md.
"""

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
README_BLOCK = re.compile(
    r"(?<=<!-- made by make notebooks: start -->\n).*?(?=<!-- made by make notebooks: end -->)", re.S
)

SETUP_CELL = """\
import sys
from pathlib import Path

# The course folder, the one that holds tlhelpers/, is where this notebook runs or further up.
folders = [Path.cwd(), *Path.cwd().parents]
sys.path[:0] = [str(folder) for folder in folders if (folder / "tlhelpers").is_dir()][:1]

import tlhelpers as tl

course = tl.start(seed=0)"""

# The setup cell once the course has a public address. The working folder of Colab is /content, whichever way the
# notebook came there. The clone gets its name last: one that was interrupted is never taken for a whole one.
FETCHING_SETUP_CELL = """\
import importlib.util
import os
import subprocess
import sys
import time
from pathlib import Path

# The course folder, the one that holds tlhelpers/, is where this notebook runs or further up.
# A notebook that was opened alone, on Colab for example, fetches the course, once. Nothing is installed.
repo, ref = "{url}", "{ref}"
fetched = Path("course", ref).absolute()
folders = [f for f in [Path.cwd(), *Path.cwd().parents, fetched] if (f / "tlhelpers").is_dir()]
if not folders and importlib.util.find_spec("tlhelpers") is None:
    begin = time.time()
    unfinished = f"{{fetched}}-{{begin:.0f}}"
    clone = ["git", "clone", "-q", "--depth", "1", "-b", ref, repo, unfinished]
    try:
        settings = {{**os.environ, "GIT_TERMINAL_PROMPT": "0"}}  # fail rather than wait for a password nobody can type
        subprocess.run(clone, env=settings, capture_output=True, text=True, check=True)
        os.rename(unfinished, fetched)
    except (OSError, subprocess.CalledProcessError) as error:
        why = getattr(error, "stderr", None) or error
        raise RuntimeError(f"The course was not fetched. With a network, run this cell again.\\n{{why}}") from None
    folders = [fetched]
    print(f"Fetched the course ({{ref}}) in {{time.time() - begin:.0f}} s")
sys.path[:0] = [str(folder) for folder in folders[:1]]

import tlhelpers as tl

course = tl.start(seed=0)"""

# Instead of buttons, or above them, in README.md.
FETCHES = """\
A notebook that Colab opens alone fetches the rest of the course in its first cell. Nothing is installed, and a GPU is
asked for. How to keep your work when the machine goes away: [docs/colab.md](docs/colab.md).
"""
NO_BUTTONS = """\
This copy of the course has no public address yet, so Colab has nowhere to fetch it from, and there are no buttons here:
see *Publish* below. How to take the course there all the same: [docs/colab.md](docs/colab.md#without-a-public-address).
"""


class AddressError(ValueError):
    """`[tool.tlcourse]` cannot be used as it stands. The message says what to write there."""


def course_address(pyproject: Path = ROOT / "pyproject.toml") -> tuple[str, str]:
    """(repo, ref) from [tool.tlcourse]; repo is "" until the course has a public home.

    Raises AddressError for a repo that is neither "owner/name" nor a git address, and for a ref that git would refuse.
    """
    table = tomllib.loads(pyproject.read_text(encoding="utf-8"))["tool"]["tlcourse"]
    repo, ref = table["repo"], table["ref"]
    on_github = re.fullmatch(r"https://github\.com/([\w-]+/[\w.-]+?)(\.git)?/?", repo)
    repo = on_github[1] if on_github else repo
    if repo and not re.fullmatch(r"[A-Za-z0-9-]+/[\w.-]+|\w+://[^\s\"'\\{}]+", repo):
        raise AddressError(
            f'{pyproject.name}, [tool.tlcourse]: repo = "{repo}" should be "owner/name" or "https://..."'
        )
    if not re.fullmatch(r"\w[\w-]*([./]\w[\w-]*)*", ref) or ref.endswith(".lock"):
        raise AddressError(f'{pyproject.name}, [tool.tlcourse]: ref = "{ref}" should be a branch or a tag, like "main"')
    return repo, ref


def setup_cell(address: tuple[str, str]) -> str:
    """The first code cell of every notebook."""
    repo, ref = address
    url = repo if "://" in repo else f"https://github.com/{repo}"
    return FETCHING_SETUP_CELL.format(url=url, ref=ref) if repo else SETUP_CELL


def on_github(address: tuple[str, str]) -> bool:
    return bool(address[0]) and "://" not in address[0]


def colab_badge(notebook: str, address: tuple[str, str]) -> str:
    """Markdown for the button that opens a notebook ("notebooks/00_start_here.ipynb") on Colab; "" without GitHub."""
    if not on_github(address):
        return ""
    repo, ref = address
    target = f"https://colab.research.google.com/github/{repo}/blob/{ref}/{notebook}"
    return f"[![Open In Colab](https://colab.research.google.com/assets/colab-badge.svg)]({target})"


def binder_badge(address: tuple[str, str]) -> str:
    """Markdown for the button that starts the course on Binder; "" without GitHub."""
    if not on_github(address):
        return ""
    repo, ref = address
    # in Binder's address a slash within a branch name is written %2F
    target = (
        f"https://mybinder.org/v2/gh/{repo}/{ref.replace('/', '%2F')}?urlpath=lab/tree/notebooks/00_start_here.ipynb"
    )
    return f"[![Launch Binder](https://mybinder.org/badge_logo.svg)]({target})"


def readme_block(notebooks: list[str], address: tuple[str, str]) -> str:
    """The lines of README.md that depend on the address: one button for each notebook, and Binder's."""
    if not on_github(address):
        return NO_BUTTONS
    rows = [f"| {Path(name).stem[:2]} | {colab_badge(name, address)} |" for name in notebooks]
    return "\n".join(
        [
            FETCHES,
            "| lesson | on Colab |",
            "|---|---|",
            *rows,
            "",
            f"A first look on Binder: {binder_badge(address)}",
            "",
        ]
    )


def stamped_readme(text: str, notebooks: list[str], address: tuple[str, str]) -> str:
    """README.md with the block between its two marks made anew; AddressError when the marks are gone."""
    if not README_BLOCK.search(text):
        raise AddressError("README.md: the two lines '<!-- made by make notebooks: start/end -->' are missing")
    return README_BLOCK.sub(lambda _: readme_block(notebooks, address), text)

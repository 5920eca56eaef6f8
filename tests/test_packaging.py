"""environment.yml agrees with pyproject.toml, every import is declared, and the tree holds nothing of one machine."""

import ast
import re
import subprocess
import sys
import tomllib
import zlib
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
PYPI_TO_CONDA = {"torch": "pytorch"}
IMPORT_TO_PYPI = {"sklearn": "scikit-learn", "PIL": "pillow", "IPython": "ipykernel", "cycler": "matplotlib"}
IMPORT_TO_PYPI |= {"psutil": "ipykernel", "yaml": "pyyaml", "packaging": "pytest", "markdown_it": "markdown-it-py"}
IMPORT_TO_PYPI |= {"huggingface_hub": "timm", "safetensors": "timm"}
OPTIONAL = {"google"}  # imported only where present: Colab


def bounds(requirements: list[str]) -> dict[str, str]:
    """{"torch": ">=2.7"}; refuses anything but a plain lower bound."""
    parsed = {}
    for line in requirements:
        match = re.fullmatch(r"([a-zA-Z0-9_-]+)(>=[0-9.]+)", line)
        assert match, f"only lower bounds are wanted: {line}"
        parsed[match[1]] = match[2]
    return parsed


def conda_packages(text: str) -> tuple[list[str], list[str]]:
    """(packages, channels) of environment.yml. It is plain enough to be read line by line, without a YAML library."""
    lists, name = {"dependencies": [], "channels": []}, ""
    for line in text.splitlines():
        if heading := re.match(r"(\w+):", line):
            name = heading[1]
        elif (entry := re.match(r"  - ([^:]+)$", line.split("#")[0].rstrip())) and name in lists:
            lists[name].append(entry[1].strip())
    return lists["dependencies"], lists["channels"]


def declared(*extras: str) -> dict[str, str]:
    """Lower bounds of what a learner gets; with `extras`, also of what single programs need."""
    project = PROJECT["project"]
    return bounds(sum((project["optional-dependencies"][extra] for extra in ("dev", *extras)), project["dependencies"]))


def test_environment_yml_agrees_with_pyproject():
    packages, channels = conda_packages((ROOT / "environment.yml").read_text(encoding="utf-8"))
    assert channels == ["conda-forge", "nodefaults"]
    (python,) = (package.removeprefix("python=") for package in packages if package.startswith("python="))
    conda = bounds([package for package in packages if package != "pip" and not package.startswith("python=")])
    # Binder's repo2docker understands "python=3.13" only: a bound would give it an old Python
    floor = PROJECT["project"]["requires-python"].removeprefix(">=")
    assert [int(number) for number in python.split(".")] >= [int(number) for number in floor.split(".")]
    assert conda == {PYPI_TO_CONDA.get(name, name): bound for name, bound in declared().items()}


def test_a_disagreement_would_be_seen():
    packages, channels = conda_packages(
        "name: x\nchannels:\n  - a\ndependencies:\n  - pytorch>=2.8  # why\n  - pip:\n      - -e .\n"
    )
    assert (packages, channels) == (["pytorch>=2.8"], ["a"])
    with pytest.raises(AssertionError, match="torch==2.8"):
        bounds(["torch==2.8"])


def imported_modules(path: Path) -> set[str]:
    modules = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            modules |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            modules.add(node.module.split(".")[0])
    return modules


def tracked_files() -> list[Path]:
    """Files of the course; outside a git checkout (a downloaded archive) there is no such list."""
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True)
    if listed.returncode:
        pytest.skip("not a git checkout")
    return [ROOT / name for name in listed.stdout.splitlines() if (ROOT / name).is_file()]


def test_every_import_is_declared():
    ours = {"tlhelpers"} | {path.stem for pattern in ("*/*.py", "scripts/*/*.py") for path in ROOT.glob(pattern)}
    known = {*declared("site", "browser"), *ours, *OPTIONAL, *sys.stdlib_module_names}
    for folder in ("tlhelpers", "lessons", "data", "scripts", "tests"):
        for path in (ROOT / folder).rglob("*.py"):
            unknown = {name for name in imported_modules(path) if IMPORT_TO_PYPI.get(name, name) not in known}
            assert not unknown, f"{path.relative_to(ROOT)} imports {unknown}, pyproject.toml does not list it"


def test_no_address_of_a_package_index_and_no_path_of_one_machine():
    index = re.compile(r"https?://[^\s\"']+/simple\b|download\.pytorch\.org/whl|files\.pythonhosted\.org")
    for path in tracked_files():
        if path.suffix in {".py", ".md", ".ipynb", ".toml", ".yml", ".cff", ".json", ".txt", ""} and path != Path(
            __file__
        ):
            text = path.read_text(encoding="utf-8")
            assert not index.search(text), f"{path.relative_to(ROOT)}: {index.search(text)[0]}"
    assert not (ROOT / "uv.lock").exists(), "a lock file would record the index of the machine it was made on"


def test_no_file_is_too_big_for_git():
    sizes = {path.relative_to(ROOT): path.stat().st_size for path in tracked_files()}
    assert {str(name) for name, size in sizes.items() if size > 12e6} == set()
    # bare pixels: git packs these two files to less than half
    packed = sum(
        len(zlib.compress((ROOT / name).read_bytes())) if name.suffix == ".bin" else size
        for name, size in sizes.items()
    )
    assert packed < 60e6


def test_the_licences_are_stated():
    assert "MIT License" in (ROOT / "LICENSE").read_text(encoding="utf-8")
    prose = (ROOT / "LICENSE-docs").read_text(encoding="utf-8")
    assert "Creative Commons Attribution 4.0 International Public License" in prose
    assert "https://creativecommons.org/licenses/by/4.0/legalcode" in prose


def test_the_citation_file_has_what_its_format_requires():
    keys = re.findall(r"^([a-z-]+):", (ROOT / "CITATION.cff").read_text(encoding="utf-8"), re.MULTILINE)
    assert {"cff-version", "message", "title", "authors"} <= set(keys)


def test_every_make_command_in_the_readme_exists():
    readme, makefile = ((ROOT / name).read_text(encoding="utf-8") for name in ("README.md", "Makefile"))
    targets = set(" ".join(re.findall(r"^\.PHONY: (.+)$", makefile, re.MULTILINE)).split())
    commands = set(re.findall(r"(?:^|`|=full )make ([a-z-]+)", readme, re.MULTILINE))
    assert {"lab", "test"} <= commands <= targets
    assert {match for match in re.findall(r"make ([\w-]+) ", makefile.split("help:")[1])} <= targets


def test_every_local_link_of_the_readme_leads_somewhere():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)#]+)\)", readme):
        if not target.startswith("http"):
            assert (ROOT / target).exists(), target

"""The data card names everything that is bundled or downloaded; the licence files and the citation are in order."""

import ast
import datetime
import importlib.metadata
import re
import tomllib
from pathlib import Path

import pytest
from torchvision import datasets, models

ROOT = Path(__file__).resolve().parent.parent
DATA = ROOT / "data"
CODE = [*sorted((ROOT / "tlhelpers").rglob("*.py")), *sorted((ROOT / "lessons").glob("*.py"))]
REQUIRED_BY_CFF = {"cff-version", "message", "title", "authors"}
BUNDLED_NETWORKS = {file.stem for file in (DATA / "weights").glob("*.pth")}


def licence_section() -> str:
    card = (DATA / "README.md").read_text(encoding="utf-8")
    return card.split("## Licences, sources, how to cite")[1].split("\n## ")[0]


def rows(table_after: str) -> dict[str, list[str]]:
    """{names in backticks of the first column: all cells} of the table after a bold heading."""
    table = licence_section().split(f"**{table_after}")[1].split("\n\n|")[1].split("\n\n")[0]
    lines = [[cell.strip() for cell in line.strip("| ").split(" | ")] for line in table.splitlines()[2:]]
    return {name: cells for cells in lines for name in re.findall(r"`([^`]+)`", cells[0]) or [cells[0]]}


def downloads_of(source: str) -> set[str]:
    """What a program can download through torchvision: data sets it fetches, networks whose weights it asks for.

    >>> sorted(downloads_of('a = course.pick(mini="resnet10", full="vgg16"); b = pretrained(c, "resnet50")'))
    ['resnet50', 'vgg16']
    >>> sorted(downloads_of('models.get_model("alexnet", weights=None); Flowers102(folder, download=True)'))
    ['Flowers102']
    """
    found = set()
    for call in (node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call)):
        name = ast.unparse(call.func).rpartition(".")[2]
        named = {keyword.arg: keyword.value for keyword in call.keywords}
        texts = [node.value for node in [*call.args, *named.values()] if isinstance(node, ast.Constant)]
        untrained = ast.unparse(named["weights"]) == "None" if "weights" in named else name == "get_model"
        if name in ("pick", "pretrained") or (name in ("get_model", *models.list_models()) and not untrained):
            found |= {text for text in [*texts, name] if isinstance(text, str) and text in models.list_models()}
        name = name.removeprefix("Labelled")  # tlhelpers.stl10's own subclass of STL10
        if hasattr(datasets, name) and ast.unparse(named.get("download", ast.Constant(False))) != "False":
            found.add(name)
    return found - BUNDLED_NETWORKS


def networks_named(source: str) -> set[str]:
    """torchvision's networks that stand in a program as a text of their own: the zoo asks for them by such names.

    >>> sorted(networks_named('NAMES = {"vgg16": "VGG16", "resnet10": "ours"}; "as vgg19 does"'))
    ['vgg16']
    """
    texts = {node.value for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Constant)}
    return texts & set(models.list_models()) - BUNDLED_NETWORKS


def test_the_card_lists_everything_that_is_bundled():
    bundled = {f"mini/{folder.name}" for folder in (DATA / "mini").iterdir()}
    bundled |= {f"weights/{file.name}" for file in (DATA / "weights").iterdir()}
    listed = rows("Bundled")
    assert len(bundled) >= 5
    assert bundled == {name for name in listed if "/" in name}
    for name in bundled:
        terms = listed[name][1]
        assert terms == ("CC BY 4.0" if name.startswith("mini/") else "MIT"), f"{name}: {terms}"


def test_the_card_gives_the_sizes_of_what_is_bundled():
    for name, cells in rows("Bundled").items():
        place = DATA / name
        if "/" in name:
            files = [place] if place.is_file() else [file for file in place.rglob("*") if file.is_file()]
            megabytes = sum(file.stat().st_size for file in files) / 1e6
            assert abs(float(cells[-1].split()[0]) - megabytes) < 0.6, f"{name}: {megabytes:.1f} MB"


def test_the_card_lists_every_download_of_the_code_with_source_terms_and_size():
    wanted = set().union(*(downloads_of(file.read_text(encoding="utf-8")) for file in CODE))
    for file in CODE:
        if file.stem in ("zoo", "detection", "segmentation") or file.stem[:2] in ("07", "08"):
            wanted |= networks_named(file.read_text(encoding="utf-8"))
    assert {"Flowers102", "resnet18"} <= wanted, "the reader of the code has stopped working"
    listed = rows("Downloaded")
    known = {name for name in listed if name in models.list_models() or hasattr(datasets, name)}
    assert known == wanted, "data/README.md, 'Licences, sources, how to cite', and the code's downloads differ"
    for name in wanted:
        assert len(listed[name]) == 5 and all(listed[name]), f"{name}: source, terms or size is missing"
        if name in models.list_models():
            weights = models.get_model_weights(name).DEFAULT
            assert f"`{weights.name}`" in listed[name][0]
            assert int(listed[name][-1].split()[0]) == pytest.approx(weights.meta["_file_size"], abs=3)


def test_a_new_download_would_be_noticed():
    assert downloads_of('arch = course.pick(mini="resnet10", full="vgg16")') == {"vgg16"}
    assert downloads_of('STL10(root, split="train", download=True)') == {"STL10"}
    assert downloads_of('models.resnet50(weights="DEFAULT")') == {"resnet50"}
    assert downloads_of('models.get_model("resnet10", weights="DEFAULT")') == set()
    assert downloads_of('models.get_model("resnet50", weights=None)') == set()


def citation() -> dict[str, str]:
    """The keys of CITATION.cff that stand on a line of their own, with their values."""
    text = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    return {key: value.strip(" \"'") for key, value in re.findall(r"^([a-z-]+):(.*)$", text, re.MULTILINE)}


def test_the_citation_has_the_keys_and_types_of_its_format():
    found = citation()
    assert set(found) >= REQUIRED_BY_CFF | {"version", "date-released", "license", "type"}
    assert found["cff-version"] == "1.2.0" and found["type"] == "software"
    assert all(found[key] for key in ("message", "title"))
    text = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    authors = text.split("authors:")[1].split("\n", 1)[1]
    assert re.match(r"\s+- (name|family-names|given-names): \S", authors), "authors is a list of names"
    assert datetime.date.fromisoformat(found["date-released"]) <= datetime.date.today() + datetime.timedelta(days=1)


def test_the_citation_belongs_to_this_version_and_these_licences():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert citation()["version"] == project["version"]
    assert citation()["license"] == project["license"] == "MIT", "of the software; a list would mean: either"
    assert "CC BY 4.0" in (ROOT / "CITATION.cff").read_text(encoding="utf-8")


def test_the_licence_of_the_prose_holds_the_whole_legal_text():
    text = (ROOT / "LICENSE-docs").read_text(encoding="utf-8")
    sections = re.findall(r"^Section (\d) -- ", text, re.MULTILINE)
    assert sections == list("12345678")
    legal = text[text.index("Attribution 4.0 International\n\n===") :]
    assert len(legal) > 18_000 and legal.rstrip().endswith("Creative Commons may be contacted at creativecommons.org.")
    assert "https://creativecommons.org/licenses/by/4.0/legalcode" in text


def test_the_licence_files_travel_with_the_package():
    wanted = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["license-files"]
    assert sorted(wanted) == ["LICENSE", "LICENSE-docs"] and all((ROOT / name).is_file() for name in wanted)
    try:
        metadata = importlib.metadata.metadata("tlhelpers")
    except importlib.metadata.PackageNotFoundError:
        pytest.skip("tlhelpers is not installed here, so it has no metadata to look at")
    assert sorted(metadata.get_all("License-File")) == sorted(wanted)
    assert metadata["License-Expression"] == "MIT"

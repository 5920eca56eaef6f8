"""The workflow files for GitHub Actions: every command in them exists here, and they cover what the course promises.

They run nowhere but on GitHub, so what can be checked without it is checked here.
"""

import re
import tomllib
from pathlib import Path

import pytest
import yaml
from colab_environment import COLAB_PYTHON

ROOT = Path(__file__).parent.parent
FILES = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
FLOOR = PROJECT["requires-python"].removeprefix(">=")


def workflow(name: str) -> dict:
    return yaml.safe_load((ROOT / ".github" / "workflows" / f"{name}.yml").read_text(encoding="utf-8"))


def commands(flow: dict) -> list[str]:
    """Every line of every `run:`."""
    steps = [step for job in flow["jobs"].values() for step in job.get("steps", [])]
    return [line for step in steps for line in step.get("run", "").splitlines() if line.strip()]


def recipe(target: str) -> str:
    """The lines of a make target."""
    return re.search(rf"^{target}:.*\n((?:\t.*\n)+)", MAKEFILE, re.MULTILINE)[1]


def unknown_options(script: str, text: str) -> set[str]:
    """Options of a command line that the script does not define."""
    source = (ROOT / script).read_text(encoding="utf-8")
    return {option for option in re.findall(r"(?<![\w-])--[a-z][a-z-]*", text) if f'"{option}"' not in source}


def mistakes(command: str) -> list[str]:
    """What a command names that does not exist in this repository."""
    found = []
    if target := re.match(r"make ([a-z-]+)", command):
        if not re.search(rf"^{target[1]}:", MAKEFILE, re.MULTILINE):
            return [f"make has no target {target[1]}"]
        for name in re.findall(r"\b([A-Z]+)=", command):
            if f"$({name})" not in MAKEFILE:
                found.append(f"the Makefile does not read {name}")
        if arguments := re.search(r'ARGS="([^"]*)"', command):
            if script := re.search(r"scripts/\w+\.py", recipe(target[1])):
                options = unknown_options(script[0], arguments[1])
                found += [f"{script[0]} has no option {option}" for option in options]
            files = re.findall(r"tests/\w+\.py", arguments[1])
            found += [f"{file} does not exist" for file in files if not (ROOT / file).is_file()]
    for script in re.findall(r"scripts[/\\]\w+\.py", command):
        script = script.replace("\\", "/")
        if not (ROOT / script).is_file():
            found.append(f"{script} does not exist")
        else:
            found += [f"{script} has no option {option}" for option in unknown_options(script, command)]
    return found


def test_there_are_a_file_for_every_push_and_one_for_every_week():
    assert [path.stem for path in FILES] == ["scheduled", "test"]
    # YAML reads the key `on` as the truth value
    assert {"push", "pull_request"} <= set(workflow("test")[True])
    assert {"schedule", "workflow_dispatch"} == set(workflow("scheduled")[True])


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_every_command_exists(path):
    lines = commands(workflow(path.stem))
    assert len(lines) >= 5
    assert [mistake for line in lines for mistake in mistakes(line)] == []


@pytest.mark.parametrize(
    ("command", "mistake"),
    [
        ("make colab-chek", "make has no target colab-chek"),
        ("make test TROCH=cpu", "the Makefile does not read TROCH"),
        ('make colab-check ARGS="--test"', "scripts/colab_check.py has no option --test"),
        ("python scripts\\setup_environment.py", "scripts/setup_environment.py does not exist"),
        ("python scripts/setup_env.py --troch cpu", "scripts/setup_env.py has no option --troch"),
    ],
)
def test_a_command_that_does_not_exist_is_seen(command, mistake):
    assert mistakes(command) == [mistake]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_workflow_may_only_read_and_ends_by_itself(path):
    flow = workflow(path.stem)
    assert flow["permissions"] == {"contents": "read"}
    assert flow["concurrency"]["cancel-in-progress"] is True
    for name, job in flow["jobs"].items():
        assert "permissions" not in job
        assert "uses" in job or job["timeout-minutes"] <= 90, name
    uses = [step["uses"] for job in flow["jobs"].values() for step in job.get("steps", []) if "uses" in step]
    assert all(re.fullmatch(r"[\w-]+/[\w-]+@v\d+", action) for action in uses), uses
    assert not any("deploy" in action or "release" in action for action in uses)
    assert "secrets." not in path.read_text(encoding="utf-8")


def test_the_suite_runs_on_every_system_and_on_the_oldest_python_and_colabs():
    jobs = workflow("test")["jobs"]
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    for system, runner in {"Linux": "ubuntu", "macOS": "macos", "Windows": "windows"}.items():
        assert system in readme
        assert f"{runner}-latest" in [job["runs-on"] for job in jobs.values()]
    assert {FLOOR, COLAB_PYTHON} <= set(jobs["linux"]["strategy"]["matrix"]["python"])
    for job in jobs.values():  # the cells of every notebook too
        assert any("make test" in step.get("run", "") or "--nbval-lax" in step.get("run", "") for step in job["steps"])


def test_the_lessons_run_in_a_browser_and_only_pictures_are_kept():
    steps = workflow("test")["jobs"]["browser"]["steps"]
    (command,) = (step["run"] for step in steps if "run" in step)
    assert command.startswith("make test-browser ") and "--need-browser" in command  # there, a skip would hide a fault
    assert steps[-1]["uses"].startswith("actions/upload-artifact@") and steps[-1]["if"] == "always()"
    assert steps[-1]["with"]["path"] == "build/browser"
    texts = [path.read_text(encoding="utf-8") for path in FILES]
    assert sum(text.count("uses: actions/upload-artifact@") for text in texts) == 1


def test_windows_runs_the_commands_of_the_readme():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    install, _, tests = commands({"jobs": {"windows": workflow("test")["jobs"]["windows"]}})
    assert install.replace("python", "py -3", 1) in readme
    assert re.sub(r"-n \d", "-n 2", tests) in readme


def test_the_week_covers_colab_the_oldest_conda_and_the_newest():
    jobs = workflow("scheduled")["jobs"]
    assert jobs["newest"]["uses"] == "./.github/workflows/test.yml"
    assert "workflow_call" in workflow("test")[True]
    for name, version in {"colab": COLAB_PYTHON, "oldest": FLOOR}.items():
        python = [step["with"]["python-version"] for step in jobs[name]["steps"] if "python" in step.get("uses", "")]
        assert python == [version]
        assert f"make {name}-check" in jobs[name]["steps"][-1]["run"]
    assert {system.split("-")[0] for system in jobs["conda"]["strategy"]["matrix"]["os"]} == {
        "ubuntu",
        "macos",
        "windows",
    }
    conda = next(step["with"] for step in jobs["conda"]["steps"] if "miniconda" in step.get("uses", ""))
    environment = yaml.safe_load((ROOT / conda["environment-file"]).read_text(encoding="utf-8"))
    assert conda["activate-environment"] == environment["name"]

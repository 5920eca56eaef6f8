"""A JupyterLab for the browser tests: of any Python, on a copy of the course, with settings of nobody."""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PARTS = ("tlhelpers", "data", "docs", "notebooks")  # what a lesson reads, and the lessons
LEFT_OUT = shutil.ignore_patterns("__pycache__", ".ipynb_checkpoints", "checkpoints", ".cache")
START = 180  # seconds a JupyterLab may take to answer
# The tests look at whole notebooks: without this, JupyterLab leaves out the cells that are not on the screen.
SETTINGS = {"@jupyterlab/notebook-extension/tracker": {"windowingMode": "none"}}
PAGE = {"disabledExtensions": {"@jupyterlab/apputils-extension:announcements": True}}  # it asks whether to fetch news


class LabError(Exception):
    """JupyterLab did not start; the text says what it printed."""


@dataclass
class Lab:
    """A running JupyterLab."""

    base: str  # "http://127.0.0.1:41234/"
    token: str
    folder: Path  # what it shows
    log: Path

    def address(self, path: str) -> str:
        """Where a browser opens this file, given from `folder`."""
        return f"{self.base}lab/tree/{path}?token={self.token}&reset"

    def ask(self, path: str, method: str = "GET"):
        request = urllib.request.Request(self.base + path, method=method)
        request.add_header("Authorization", f"token {self.token}")
        with urllib.request.urlopen(request, timeout=60) as answer:
            text = answer.read()
        return json.loads(text) if text else None

    def end_kernels(self) -> None:
        for session in self.ask("api/sessions"):
            with contextlib.suppress(urllib.error.HTTPError):  # it ended by itself meanwhile
                self.ask(f"api/sessions/{session['id']}", "DELETE")


def copy_course(folder: Path) -> None:
    """Fill a folder with what the lessons need: the repository itself is never written to."""
    for part in PARTS:
        shutil.copytree(ROOT / part, folder / part, ignore=LEFT_OUT)


def private_settings(folder: Path) -> dict[str, str]:
    """Write the settings of this JupyterLab into a folder; returns the variables that make Jupyter read those alone."""
    for name, values in SETTINGS.items():
        file = folder / "settings" / f"{name}.jupyterlab-settings"
        file.parent.mkdir(parents=True)
        file.write_text(json.dumps(values), encoding="utf-8")
    page = folder / "config" / "labconfig" / "page_config.json"
    page.parent.mkdir(parents=True)
    page.write_text(json.dumps(PAGE), encoding="utf-8")
    places = {
        "JUPYTER_CONFIG_DIR": "config",
        "JUPYTER_DATA_DIR": "data",
        "JUPYTER_RUNTIME_DIR": "runtime",
        "IPYTHONDIR": "ipython",
        "JUPYTERLAB_SETTINGS_DIR": "settings",
        "JUPYTERLAB_WORKSPACES_DIR": "workspaces",
    }
    return {name: str(folder / place) for name, place in places.items()}


@contextlib.contextmanager
def running_lab(python: str, folder: Path, private: Path):
    """A JupyterLab of this Python that shows `folder` and keeps everything of its own in `private`."""
    environment = {**os.environ, **private_settings(private), "TLHELPERS_PROFILE": "mini", "PYTHONUNBUFFERED": "1"}
    for name in ("MPLBACKEND", "JUPYTER_PATH", "JUPYTER_CONFIG_PATH", "JUPYTER_TOKEN"):  # tests draw without a screen
        environment.pop(name, None)
    token = os.urandom(16).hex()
    options = [
        "--no-browser",
        "--allow-root",
        "--ServerApp.ip=127.0.0.1",
        "--ServerApp.port=0",
        f"--ServerApp.root_dir={folder}",
        f"--IdentityProvider.token={token}",
        "--LabApp.extension_manager=readonly",
    ]
    log = private / "jupyterlab.log"
    with open(log, "wb") as file:
        process = subprocess.Popen(
            [python, "-m", "jupyterlab", *options],
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        yield Lab(wait_until_it_answers(process, private / "runtime", log), token, folder, log)
    finally:
        process.terminate()  # it ends its kernels first
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            if hasattr(os, "killpg"):
                os.killpg(process.pid, signal.SIGKILL)
            process.kill()
            process.wait()


def wait_until_it_answers(process: subprocess.Popen, runtime: Path, log: Path) -> str:
    """The address of the server, once it answers there. It chooses its port itself and writes it into a file."""
    end = time.monotonic() + START
    while time.monotonic() < end and process.poll() is None:
        for file in runtime.glob("jpserver-*.json"):
            with contextlib.suppress(ValueError, OSError):  # half written, or not answering yet
                base = json.loads(file.read_text(encoding="utf-8"))["url"]
                with urllib.request.urlopen(base + "api", timeout=10):
                    return base
        time.sleep(0.1)
    raise LabError(f"JupyterLab does not start:\n{log.read_text(encoding='utf-8', errors='replace')[-3000:]}")

"""Make the private environment of the course in .venv/ and install everything into it. `make` calls this.

    python scripts/setup_env.py                      make it, or do nothing when it is ready
    python scripts/setup_env.py --python python3.12  from this Python instead of the first suitable one
    python scripts/setup_env.py --torch cpu          which PyTorch: auto, cpu, pypi, or what `uv --torch-backend` takes
    python scripts/setup_env.py --wheels FOLDER      from the wheels of an offline kit; the network is never used

Standard library only. The syntax is that of old Pythons on purpose: they must get far enough to say they are too old.
The environment counts as ready when .venv/course-ready.json stands in it. That file is written last.
"""

from __future__ import print_function

import argparse
import errno
import glob
import hashlib
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import sysconfig
import threading
import time
import zipfile

NEEDED = (3, 11)
ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
VENV = os.path.join(ROOT, ".venv")
STAMP = os.path.join(VENV, "course-ready.json")
OURS = os.path.join(VENV, "made-by-the-course")  # without this file the environment is somebody else's: never removed
VENV_PYTHON = os.path.join(VENV, "Scripts", "python.exe") if os.name == "nt" else os.path.join(VENV, "bin", "python")

GIGABYTES = {"small": 3, "large": 9}  # what the environment takes, with some room: CPU build, CUDA build
HEARTBEAT = 20  # seconds between two signs of life while something is being installed

DISK_FULL = (
    r"No space left on device|not enough space on the disk|Disk quota exceeded|os error (28|112|122)\b|Errno 28\b"
)
UNREACHABLE = (
    r"Failed to fetch|dns error|error sending request|NewConnectionError|Max retries exceeded|timed out|ProxyError|"
    r"Temporary failure in name resolution|Could not find a version that satisfies the requirement uv|"
    r"Network is unreachable|Connection (refused|reset|broken)|SSLError|CERTIFICATE_VERIFY_FAILED|invalid peer certif"
)
NO_BUILD = r"No solution found|No matching distribution found|has no wheels with a matching|ResolutionImpossible"


class SetupError(Exception):
    """Something the reader can act on; its text is all that is printed."""


def say(text):
    print(text)
    sys.stdout.flush()


def run(command, quiet=False, **environment):
    """Run a command, showing its lines as they come. Returns (exit status, everything it printed)."""
    process = subprocess.Popen(
        command,
        cwd=ROOT,
        env=dict(os.environ, **environment),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    lines = []

    def read():
        for raw in process.stdout:
            lines.append(raw.decode("utf-8", "replace").rstrip())
            if not quiet and not re.match(" [+-] ", lines[-1]):  # uv lists every one of the 130 packages
                say("  " + lines[-1])

    reader = threading.Thread(target=read)
    reader.daemon = True
    reader.start()
    start, shown = time.time(), 0
    try:
        while reader.is_alive():
            reader.join(0.1)
            if time.time() - start >= HEARTBEAT * (shown + 1):
                shown += 1
                say("  ... still working, %d s" % (HEARTBEAT * shown))
        return process.wait(), "\n".join(lines)
    except KeyboardInterrupt:
        process.terminate()
        raise


def version_of(python):
    """(3, 11) for a Python that runs, None for one that does not (a launcher without a version behind it, say)."""
    try:
        text = subprocess.check_output(
            [python, "-c", "import sys; print('%d.%d' % sys.version_info[:2])"], stderr=subprocess.STDOUT
        )
        return tuple(int(part) for part in text.decode().strip().split("."))
    except (OSError, ValueError, subprocess.CalledProcessError):
        return None


def this_platform():
    """What an offline kit calls this computer. Names it has no wheels for are long enough to be understood."""
    machine = platform.machine().lower()
    if sys.platform.startswith("linux"):
        return {"x86_64": "linux", "aarch64": "linux-arm"}.get(machine, "linux on " + machine)
    if sys.platform == "darwin":
        return "macos" if machine == "arm64" else "macos on " + machine
    if sysconfig.get_platform() == "win-amd64":  # of this Python, which may run translated on another processor
        return "windows"
    return sysconfig.get_platform()


def find_python(wanted):
    """The Python to build from: the one asked for, else the one running this, else the newest usual one on the PATH."""
    inside = os.path.realpath(sys.prefix) == os.path.realpath(VENV)  # started from the activated environment itself
    running = getattr(sys, "_base_executable", sys.executable) if inside else sys.executable
    candidates = [wanted] if wanted else [running, "python3.13", "python3.12", "python3.11", "python3.14", "python3"]
    found = None
    for candidate in candidates:
        version = version_of(candidate)
        if version and version >= NEEDED:
            return candidate, version
        found = found or version
    needed = "Python %d.%d or newer is needed, " % NEEDED
    if found is None:
        raise SetupError(needed + "and '%s' does not run." % candidates[0])
    raise SetupError(
        needed
        + "this is %d.%d.\nInstall a newer one (python.org, your package manager, or conda: see README.md)," % found
        + "\nor name one you have: make PYTHON=python3.12 ..."
    )


def fingerprint():
    """Changes when the list of packages changes, or when the course folder is moved."""
    with open(os.path.join(ROOT, "pyproject.toml"), "rb") as file:
        return hashlib.sha256(file.read() + ROOT.encode("utf-8")).hexdigest()


def read_stamp():
    try:
        with open(STAMP) as file:
            return json.load(file)
    except (OSError, ValueError):
        return None


def is_ready(stamp, wanted_python, torch):
    """Whether the environment can be used as it stands."""
    if not stamp or stamp.get("fingerprint") != fingerprint() or torch not in ("auto", stamp.get("torch")):
        return False
    version = version_of(VENV_PYTHON)
    return version is not None and (not wanted_python or version == version_of(wanted_python))


def check_disk(gigabytes, *folders):
    """Refuse to start an installation that cannot end well. Folders on one disk count once."""
    for folder in folders:
        while not os.path.exists(folder):
            folder = os.path.dirname(folder)
        free = shutil.disk_usage(folder).free / 1e9
        if free < gigabytes:
            hint = (
                "\nThe CPU-only PyTorch needs far less: make TORCH=cpu ..." if gigabytes == GIGABYTES["large"] else ""
            )
            raise SetupError(
                "Not enough disk space: about %.2g GB are needed in %s, %.1f GB are free.%s"
                % (gigabytes, folder, free, hint)
            )


def wheel_list(folder, version):
    """The file of an offline kit that lists what this computer and this Python need, with checksums."""
    path = os.path.join(folder, "%s-%d.%d.txt" % ((this_platform(),) + version))
    if os.path.isfile(path):
        return path
    names = [os.path.basename(name)[:-4] for name in sorted(glob.glob(os.path.join(folder, "*.txt")))]
    raise SetupError(
        "The offline kit has no packages for %s with Python %d.%d.\n" % ((this_platform(),) + version)
        + "It has them for: %s." % (", ".join(" with Python ".join(name.rsplit("-", 1)) for name in names) or "nothing")
    )


def unpacked_gigabytes(folder, listed):
    """What the listed wheels take once installed, with a tenth of room."""
    wanted = set(
        re.sub("[-_.]+", "_", name).lower() for name in re.findall(r"^([^=\n]+==[^ \n]+)", listed, re.MULTILINE)
    )
    total = 0
    for path in glob.glob(os.path.join(folder, "*.whl")):
        name, version = os.path.basename(path).split("-")[:2]
        if re.sub("[-_.]+", "_", name + "==" + version).lower() in wanted:
            size = unpacked_size(path)
            if size is None:
                raise damaged(path)
            total += size
    return 1.1 * total / 1e9


def unpacked_size(wheel):
    """Bytes, or None for a wheel that cannot be read: one that was cut short, say, or on a bad stick."""
    try:
        with zipfile.ZipFile(wheel) as archive:
            return sum(entry.file_size for entry in archive.infolist())
    except (zipfile.BadZipFile, ValueError, OSError):
        return None


def damaged(path):
    return SetupError(
        "A file of the offline kit is damaged: %s.\nCopy the kit again, or run its verify.py." % os.path.basename(path)
    )


def kit_pip(folder, listed):
    """The wheel of pip in a kit, once it is sure that it is whole: it runs before anything checks it."""
    version, wanted = (re.findall(r"^pip==(\S+) --hash=sha256:(\S+)", listed, re.MULTILINE) or [("", "")])[0]
    path = os.path.join(folder, "pip-%s-py3-none-any.whl" % version)
    if not os.path.isfile(path):
        raise SetupError("The offline kit is not complete: %s is missing. Run its verify.py." % path)
    with open(path, "rb") as file:
        if hashlib.sha256(file.read()).hexdigest() != wanted:
            raise damaged(path)
    return path


def explain_kit(output, folder):
    """`explain` for a failure while installing from an offline kit."""
    tail = "\n".join("  " + line for line in output.splitlines()[-8:])
    if re.search("DO NOT MATCH THE HASHES|BadZipFile|Wheel .* is invalid|has an invalid wheel", output):
        return SetupError(tail + "\nA file of the offline kit is damaged. Copy the kit again, or run its verify.py.")
    if re.search(NO_BUILD + "|Could not find a version|is not a supported wheel", output):
        return SetupError(
            tail
            + "\nA package is missing in %s, or this system is too old for it\n" % folder
            + "(the kit is made for Linux with glibc 2.28 or newer, macOS 13 or newer, Windows with 64 bits).\n"
            "The kit's verify.py says whether a file is missing."
        )
    return explain(output, "installing")


def explain(output, doing):
    """The failure of an installer in words that say what to do."""
    tail = "\n".join("  " + line for line in output.splitlines()[-8:])
    if re.search(DISK_FULL, output) or shutil.disk_usage(ROOT).free < 50e6:
        return SetupError(
            "The disk is full: %s stopped. The environment takes up to %d GB.\n"
            "Free some space, then run the same command again." % (doing, GIGABYTES["large"])
        )
    if re.search(UNREACHABLE, output):
        return SetupError(
            tail.splitlines()[-1] + "\nThe package index cannot be reached: %s stopped.\n"
            "Is there a network? A proxy or a firewall in between? Then run the same command again." % doing
        )
    if re.search(NO_BUILD, output):
        return SetupError(
            tail + "\nThere is no build of PyTorch for this Python on this machine.\n"
            "Try another Python (make PYTHON=python3.12 ...) or the conda way: see README.md."
        )
    return SetupError(tail + "\n%s failed; the lines above say why." % doing.capitalize())


def create(python, *options):
    """An empty environment, marked as ours before anything else is in it."""
    os.mkdir(VENV)
    open(OURS, "w").close()
    status, output = run([python, "-m", "venv"] + list(options) + [VENV], quiet=True)
    if status and re.search("ensurepip|No module named venv|python3[.0-9]*-venv", output):
        raise SetupError(
            "This Python cannot make environments: its venv or ensurepip module is missing.\n"
            "On Debian and Ubuntu: sudo apt install python3-venv"
        )
    if status:
        raise explain(output, "making the environment")


def choose_torch(wanted, uv):
    """The value for uv's --torch-backend, or "pypi" for whatever the ordinary index has.

    On Linux the ordinary PyTorch brings several GB of CUDA libraries. Without an NVIDIA driver they serve nobody,
    so the CPU build is asked for first; it lives on an index of its own that not every network lets through.
    """
    if wanted != "auto" or not uv or not sys.platform.startswith("linux"):
        return "pypi" if wanted == "auto" else wanted
    if os.path.exists("/proc/driver/nvidia") or shutil.which("nvidia-smi"):
        return "pypi"
    probe = uv + ["pip", "install", "--python", VENV_PYTHON, "--dry-run", "--no-deps", "--torch-backend=cpu", "torch"]
    status, _ = run(probe, quiet=True, UV_HTTP_RETRIES="0", UV_HTTP_TIMEOUT="15")
    if status == 0:
        return "cpu"
    say("The index of the CPU-only PyTorch cannot be reached; taking the ordinary build (larger, works the same).")
    return "pypi"


def install(wanted_torch):
    """Everything in pyproject.toml, and the course itself in editable form. Returns which PyTorch it was."""
    pip = [VENV_PYTHON, "-m", "pip", "install", "--disable-pip-version-check"]
    status, output = run(pip + ["--quiet", "--retries", "2", "uv"], quiet=True)
    if status and (re.search(DISK_FULL, output) or re.search(UNREACHABLE, output)):
        raise explain(output, "installing")
    if "No module named pip" in output:
        raise SetupError("There is a .venv here without pip that this course did not make. Move it away, then again.")
    uv = [] if status else [VENV_PYTHON, "-m", "uv"]
    torch = choose_torch(wanted_torch, uv)

    large = sys.platform.startswith("linux") and torch != "cpu"
    cache = run(uv + ["cache", "dir"], quiet=True)[1].strip() if uv else ""
    check_disk(GIGABYTES["large" if large else "small"], ROOT, *([cache] if os.path.isabs(cache) else []))

    say("Installing the packages; the first time this takes some minutes.")
    if uv:
        backend = [] if torch == "pypi" else ["--torch-backend=" + torch]
        status, output = run(uv + ["pip", "install", "--python", VENV_PYTHON] + backend + ["-e", ".[dev]"])
        if status == 0:
            return torch
        if wanted_torch not in ("auto", "pypi") or re.search(DISK_FULL, output):
            raise explain(output, "installing")
        say("That did not work; trying once more with pip.")
        if torch == "cpu":  # pip takes the ordinary, larger build
            check_disk(GIGABYTES["large"], ROOT)
    elif torch != "pypi":
        raise SetupError("TORCH=%s needs uv, and uv could not be installed:\n%s" % (torch, output))
    status, output = run(pip + ["-e", ".[dev]"])
    if status:
        raise explain(output, "installing")
    return "pypi"


def install_from_kit(folder, listed):
    """Exactly the wheels in a kit's list, then the course itself. Returns which PyTorch it was.

    The kit brings its own pip: a Python without ensurepip, as Debian splits it, has none. --isolated: neither settings
    of this computer nor variables can send pip to a network. pip checks every wheel against its checksum.
    """
    with open(listed) as file:
        text = file.read()
    check_disk(unpacked_gigabytes(folder, text), ROOT)
    pip = kit_pip(folder, text)
    options = ["install", "--isolated", "--no-index", "--disable-pip-version-check", "--no-cache-dir", "--no-compile"]
    say("Installing the packages from %s; this takes some minutes." % folder)
    for command in (
        [VENV_PYTHON, os.path.join(pip, "pip")] + options + ["--find-links", folder, "--require-hashes", "-r", listed],
        [VENV_PYTHON, "-m", "pip"] + options + ["--no-deps", "--no-build-isolation", "-e", "."],
    ):
        status, output = run(command, quiet=True)
        if status:
            raise explain_kit(output, folder)
    return "cpu" if re.search(r"^torch==\S+\+cpu", text, re.MULTILINE) else "pypi"


def quiet_lab():
    """JupyterLab then opens without asking whether it may fetch news."""
    folder = os.path.join(VENV, "etc", "jupyter", "labconfig")
    if not os.path.isdir(folder):
        os.makedirs(folder)
    with open(os.path.join(folder, "page_config.json"), "w") as file:
        json.dump({"disabledExtensions": {"@jupyterlab/apputils-extension:announcements": True}}, file)


def make_environment(options):
    stamp = read_stamp()
    if is_ready(stamp, options.python, options.torch):
        return
    python, version = find_python(options.python)
    listed = wheel_list(options.wheels, version) if options.wheels else None
    current = version_of(VENV_PYTHON)
    usable = stamp and current == version and options.torch in ("auto", stamp["torch"])
    if os.path.exists(OURS) and not usable:
        say("Removing an unfinished or outdated .venv")
        shutil.rmtree(VENV)
    elif os.path.lexists(VENV) and (current is None or current < NEEDED):
        raise SetupError(
            "There is a .venv here that does not run Python %d.%d or newer. Delete it, then again." % NEEDED
        )
    fresh = not os.path.lexists(VENV)
    try:
        if fresh:
            check_disk(GIGABYTES["small"], ROOT)
            say("Making the private environment .venv with Python %d.%d" % version)
            create(python, *(["--without-pip"] if listed else []))
        elif os.path.exists(STAMP):
            os.remove(STAMP)
        torch = install_from_kit(options.wheels, listed) if listed else install(options.torch)
        quiet_lab()
        say("Trying it out; the first import is slow.")
        status, output = run([VENV_PYTHON, "-c", "import torch, torchvision, tlhelpers"], quiet=True)
        if status:
            raise explain(output, "the first import")
        with open(STAMP + ".tmp", "w") as file:
            json.dump({"fingerprint": fingerprint(), "torch": torch}, file)
        os.rename(STAMP + ".tmp", STAMP)
    except Exception:
        if fresh:  # a half-made environment helps nobody and may be what fills the disk
            shutil.rmtree(VENV, ignore_errors=True)
        raise
    say("The environment is ready.")


def main():
    if sys.version_info < (3, 4):
        print("Python %d.%d or newer is needed, " % NEEDED + "this is %d.%d." % sys.version_info[:2])
        return 1
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--python", default="", help="build from this Python")
    parser.add_argument("--torch", default="auto", help="auto (default), cpu, pypi, cu130, ...")
    parser.add_argument("--wheels", default="", help="install from this folder of an offline kit, without a network")
    try:
        options = parser.parse_args()
        options.wheels = os.path.abspath(options.wheels) if options.wheels else ""
        make_environment(options)
    except SetupError as error:
        say("\n" + str(error))
        return 1
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        say("\nThe disk is full: %s. Free some space, then run the same command again." % error)
        return 1
    except KeyboardInterrupt:
        say("\nInterrupted. The next run starts over.")
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())

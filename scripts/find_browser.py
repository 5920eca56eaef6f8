"""Where this computer has a Chromium or Chrome. check_site.py and tests/browser use it; nothing is downloaded."""

import shutil
import sys
from pathlib import Path

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome", "msedge")
APPS = (
    "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
    "/Applications/Chromium.app/Contents/MacOS/Chromium",
    r"C:\Program Files\Google\Chrome\Application\chrome.exe",
    r"C:\Program Files (x86)\Microsoft\Edge\Application\msedge.exe",
)


def find_browser(named: str | None = None) -> str | None:
    """The program to look with: the one that was named, or the first Chromium or Chrome of this computer."""
    if named:
        return shutil.which(named)
    found = [shutil.which(name) for name in BROWSERS] + [app for app in APPS if Path(app).is_file()]
    return next((program for program in found if program), None)


if __name__ == "__main__":  # prints it; exit code 1: there is none
    program = find_browser()
    print(program or "no Chromium or Chrome found")
    sys.exit(program is None)

"""Settings of the whole unit suite: no network, no windows, few threads, and where the real photographs are."""

import errno
import os
import signal
import socket
from pathlib import Path

import pytest

os.environ.setdefault("MPLBACKEND", "Agg")

# A shell starts background jobs with Ctrl-C switched off, and their children inherit that: the tests of interrupted
# trainings need it on.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

REAL_DATA = os.environ.get("TLHELPERS_REAL_DATA", "")


def pytest_collection_modifyitems(items):
    """Tests marked real_data are skipped, with the reason, where the photographs are not."""
    if REAL_DATA and Path(REAL_DATA).is_dir():
        return
    reason = "TLHELPERS_REAL_DATA names no folder with the real photographs and weights"
    for item in items:
        if item.get_closest_marker("real_data"):
            item.add_marker(pytest.mark.skip(reason=reason))


@pytest.fixture
def real_data() -> Path:
    """The folder with hymenoptera/ and torch_home/; for tests marked real_data."""
    return Path(REAL_DATA)


@pytest.fixture(autouse=True, scope="session")
def few_threads():
    """Two test processes share two cores: more threads than that only wait for each other."""
    import torch

    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", 2)))


@pytest.fixture(autouse=True, scope="session")
def no_network():
    """Whatever leaves this computer fails as it does without a network. Loopback servers and local sockets work."""
    connect = socket.socket.connect

    def connect_nearby(self, address):
        if self.family == getattr(socket, "AF_UNIX", None) or address[0] in ("127.0.0.1", "::1", "localhost"):
            return connect(self, address)
        raise OSError(errno.ENETUNREACH, f"the unit tests run without a network, refused: {address}")

    patch = pytest.MonkeyPatch()
    patch.setattr(socket.socket, "connect", connect_nearby)
    yield
    patch.undo()

"""A small web server on this machine for the download tests. No network is needed."""

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest


class Site:
    """Serves `files` ({path: bytes}); `cut` sends half, `stall` half and then silence, `damage` other bytes."""

    def __init__(self, files=None, status=200, cut=(), stall=(), damage=(), silent=False):
        self.files, self.status, self.silent = files or {}, status, silent
        self.cut, self.stall, self.damage = set(cut), set(stall), set(damage)
        self.requests = []
        self.over = threading.Event()
        site = self

        class Handler(BaseHTTPRequestHandler):
            def do_HEAD(self):
                site.answer(self, body=False)

            def do_GET(self):
                site.answer(self, body=True)

            def log_message(self, *_):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        self.url = f"http://127.0.0.1:{self.server.server_port}/"

    def answer(self, handler, body):
        name = handler.path.lstrip("/")
        self.requests.append((handler.command, name))
        if self.silent:
            self.over.wait(10)
            return
        content = self.files.get(name)
        if self.status != 200 or content is None:
            handler.send_error(self.status if self.status != 200 else 404)
            return
        handler.send_response(200)
        handler.send_header("Content-Length", str(len(content)))
        handler.end_headers()
        if not body:
            return
        if name in self.damage:
            content = bytes(len(content) // 2) + content[len(content) // 2 :]
        handler.wfile.write(content[: len(content) // 2] if name in self.cut | self.stall else content)
        handler.wfile.flush()
        if name in self.stall:
            self.over.wait(10)

    def close(self):
        self.over.set()
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture
def serve():
    """Start servers and give their addresses; all of them end with the test."""
    sites = []

    def start(**options):
        sites.append(Site(**options))
        return sites[-1].url

    yield start
    for site in sites:
        site.close()

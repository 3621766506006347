"""A page on a loopback port, made anew when the file of the function changes."""

from __future__ import annotations

import http.server
import traceback
from collections.abc import Callable
from html import escape
from importlib.resources import files
from pathlib import Path
from threading import Lock

from .page import secured
from .story import encodable

__all__ = ["PageServer", "error_page"]


def error_page(text: str) -> str:
    """The page that shows an error."""
    return secured("Error", f"<pre>{escape(encodable(text))}</pre>")


class PageServer(http.server.ThreadingHTTPServer):
    """Serves ``make()``, a page, on 127.0.0.1 only. ``make`` is run again when ``path`` has changed since."""

    daemon_threads = True

    def __init__(self, path: Path, make: Callable[[], str], port: int = 0):
        self.path, self.make = path, make
        self.lock, self.version, self.page = Lock(), 0, ""
        self.seen: float | None = None
        super().__init__(("127.0.0.1", port), Handler)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/"

    def current(self) -> tuple[int, str]:
        """The number of the version, and the page; where it cannot be made, a page with the error."""
        with self.lock:
            changed = self.path.stat().st_mtime if self.path.exists() else None
            if changed != self.seen or not self.version:
                self.seen = changed
                self.version += 1
                try:
                    self.page = self.make()
                except (Exception, SystemExit):  # the file of the user may end the process
                    self.page = error_page(traceback.format_exc())
            return self.version, self.page


class Handler(http.server.BaseHTTPRequestHandler):
    """Answers for the frame around the page, the page, and the number of its version."""

    def do_GET(self) -> None:
        server = self.server
        assert isinstance(server, PageServer)
        if self.headers.get("Host", "").partition(":")[0] not in ("127.0.0.1", "localhost"):  # another site's name for this address
            self.send_error(403)
        elif self.path == "/":
            script = files("cotan.explanation").joinpath("serve.js").read_text(encoding="utf-8")
            style = "html,body{margin:0;height:100%}iframe{border:0;width:100%;height:100%}"
            self.answer(
                secured(
                    "cotan explain",
                    '<iframe title="The page" src="/page"></iframe>',
                    style,
                    script,
                    "; connect-src 'self'; frame-src 'self'",
                )
            )
        elif self.path == "/page":
            self.answer(server.current()[1])
        elif self.path == "/version":
            self.answer(str(server.current()[0]), "text/plain")
        else:
            self.send_error(404)

    def answer(self, text: str, kind: str = "text/html") -> None:
        body = text.encode()
        self.send_response(200)
        self.send_header("Content-Type", f"{kind}; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Cache-Control", "no-store")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing: the terminal is the user's."""

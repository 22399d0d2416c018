"""Serve the page: on this machine alone, or wider with a token."""

from __future__ import annotations

import errno
import logging
import socket
from collections.abc import Callable
from dataclasses import dataclass
from http.cookies import CookieError, SimpleCookie
from typing import TYPE_CHECKING, Any

from tornado.httpserver import HTTPServer
from tornado.httputil import HTTPHeaders, HTTPMessageDelegate, HTTPServerRequest, ResponseStartLine
from tornado.ioloop import IOLoop
from tornado.routing import Router

from gsimplicit import checks
from gsimplicit.explorer.guard import MOST_VISITORS, Answer, Guard, guard_of

if TYPE_CHECKING:
    from gsimplicit.explorer.page.visit import Asked

__all__ = ["Served", "serve"]


_FORGOTTEN = 3000
"""Milliseconds after which a visitor who has left is forgotten; a page that is loaded slowly begins anew."""

_AGAIN = 5
"""Seconds after which a visitor for whom there was no room asks again."""


class _Refusal(HTTPMessageDelegate):
    """Answers a request without asking the page's server."""

    def __init__(self, request: HTTPServerRequest, answer: Answer) -> None:
        self._request, self._answer = request, answer

    def finish(self) -> None:
        """Once all of the request is here, which is not read."""
        answer, body = self._answer, b""
        headers = HTTPHeaders({"Content-Type": "text/plain; charset=utf-8", "Cache-Control": "no-store"})
        headers["Referrer-Policy"] = "no-referrer"
        if answer.code == 302:
            headers["Location"], headers["Set-Cookie"] = answer.said, answer.cookie
        else:
            body = answer.said.encode()
        headers["Content-Length"] = str(len(body))
        if answer.code == 503:  # a page that waits asks again by itself
            headers["Refresh"] = headers["Retry-After"] = str(_AGAIN)
        words = {302: "Found", 403: "Forbidden", 503: "Service Unavailable"}
        self._request.connection.write_headers(
            ResponseStartLine("HTTP/1.1", answer.code, words[answer.code]), headers, body
        )
        self._request.connection.finish()


class Guarded(Router):
    """Asks the guard before the application sees a request; a websocket begins as one.

    Args:
        application: Answers what is let through.
        guard: The rule.
        pages: Gives the number of pages that are open, and of those the number that a browser shows.
    """

    def __init__(self, application: Any, guard: Guard, pages: Callable[[], tuple[int, int]]) -> None:
        self._application, self._guard, self._pages = application, guard, pages

    def find_handler(self, request: HTTPServerRequest, **kwargs: Any) -> HTTPMessageDelegate:
        """The application's answer, or the guard's."""
        cookies: SimpleCookie = SimpleCookie()
        try:
            cookies.load(request.headers.get("Cookie", ""))
        except CookieError:
            cookies.clear()
        answer = self._guard.answer(
            request.method or "", request.uri or "/", request.host, request.headers.get("Origin"),
            {name: one.value for name, one in cookies.items()},
        )  # fmt: skip
        if answer.code == 200:
            answer = self._guard.room(request.uri or "/", *self._pages())
        if answer.code == 200:
            found: HTTPMessageDelegate = self._application.find_handler(request, **kwargs)
            return found
        return _Refusal(request, answer)


@dataclass(frozen=True)
class Served:
    """A server that listens.

    Attributes:
        url: Address to open, with the token where there is one.
        others: The same for other machines, where the server listens to all; empty where `url` is what they open.
        run: Serves until it is interrupted.
        stop: Ends it.
    """

    url: str
    others: str
    run: Callable[[], None]
    stop: Callable[[], None]


def serve(
    asked: Asked, host: str = "127.0.0.1", port: int = 0, token: str | None = None, visitors: int = MOST_VISITORS
) -> Served:
    """Listen, and serve a page of its own to each visitor.

    Args:
        asked: What the page shows.
        host: Address to listen at; one that others reach asks visitors for a token.
        port: To listen at, 0..65535; 0 takes one that is free.
        token: Of the user's own, at least 16 letters, digits, - and _; None makes one where it is needed.
        visitors: Pages that may be open at a time, >= 1.

    Raises:
        ValueError: An argument lies outside its range.
        OSError: The address cannot be listened at; host and port are named.
    """
    from bokeh.server.server import BaseServer
    from bokeh.server.tornado import BokehTornado
    from bokeh.server.util import bind_sockets
    from panel.io.server import build_applications

    from gsimplicit.explorer.page.visit import page

    port = checks.integer("port", port, 0, 65535)
    visitors = checks.integer("visitors", visitors, 1)
    guard_of(host, port, token)  # before anything listens
    try:
        sockets, port = bind_sockets(host, port)
    except OSError as error:
        raise OSError(_cannot(host, port, error)) from error
    guard = guard_of(host, port, token, visitors)
    # where a page may come from is the guard's to say: it compares with what the browser calls this server
    logging.getLogger("bokeh.server.util").setLevel(logging.ERROR)  # warns of the star
    application = BokehTornado(
        build_applications(lambda: page(asked), title="gsimplicit"), extra_websocket_origins=["*"],
        unused_session_lifetime_milliseconds=_FORGOTTEN, check_unused_sessions_milliseconds=_FORGOTTEN // 3,
    )  # fmt: skip

    def pages() -> tuple[int, int]:
        found = server.get_sessions()
        return len(found), sum(one.connection_count > 0 for one in found)

    http = HTTPServer(Guarded(application, guard, pages))
    http.add_sockets(sockets)
    server: BaseServer = BaseServer(IOLoop.current(), application, http)
    rest = f":{port}/" + (f"?token={guard.token}" if guard.token else "")
    shown = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host, f"[{host}]" if ":" in host else host)
    others = f"http://{_own_address()}{rest}" if host in ("0.0.0.0", "::") else ""
    return Served(f"http://{shown}{rest}", others, server.run_until_shutdown, server.stop)


def _own_address() -> str:
    """The address by which other machines reach this one, as far as it knows itself; its name where it has none."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
        try:
            one.connect(("192.0.2.1", 9))  # sends nothing: it asks which of its own addresses would be used
        except OSError:
            return socket.gethostname()
        return str(one.getsockname()[0])


def _cannot(host: str, port: int, error: OSError) -> str:
    """Why an address cannot be listened at."""
    if error.errno in (errno.EADDRINUSE, errno.EACCES):
        why = "in use" if error.errno == errno.EADDRINUSE else "not for this user"
        return f"port {port} is {why}: choose another with --port, or leave it out for a free one"
    return f"host {host} is no address of this machine ({error.strerror or error}): see --host"

"""Serve the page: on this machine alone, or wider with a token."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from http.cookies import CookieError, SimpleCookie
from typing import TYPE_CHECKING, Any

from tornado.httputil import HTTPHeaders, HTTPMessageDelegate, HTTPServerRequest, ResponseStartLine
from tornado.routing import Router

from gsimplicit import checks
from gsimplicit.explorer.guard import Answer, Guard, guard_of

if TYPE_CHECKING:
    from gsimplicit.explorer.page.visit import Asked

__all__ = ["Served", "serve"]


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
        words = {302: "Found", 403: "Forbidden"}
        self._request.connection.write_headers(
            ResponseStartLine("HTTP/1.1", answer.code, words[answer.code]), headers, body
        )
        self._request.connection.finish()


class Guarded(Router):
    """Asks the guard before the application sees a request; a websocket begins as one."""

    def __init__(self, application: Any, guard: Guard) -> None:
        self._application, self._guard = application, guard

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
            found: HTTPMessageDelegate = self._application.find_handler(request, **kwargs)
            return found
        return _Refusal(request, answer)


@dataclass(frozen=True)
class Served:
    """A server that listens.

    Attributes:
        url: Address to open, with the token where there is one.
        run: Serves until it is interrupted.
        stop: Ends it.
    """

    url: str
    run: Callable[[], None]
    stop: Callable[[], None]


def serve(asked: Asked, host: str = "127.0.0.1", port: int = 0, token: str | None = None) -> Served:
    """Listen, and serve a page of its own to each visitor.

    Args:
        asked: What the page shows.
        host: Address to listen at; one that others reach asks visitors for a token.
        port: To listen at, 0..65535; 0 takes one that is free.
        token: Of the user's own, at least 16 letters, digits, - and _; None makes one where it is needed.

    Raises:
        ValueError: An argument lies outside its range.
        OSError: The address cannot be listened at.
    """
    from bokeh.server.server import BaseServer
    from panel.io.server import get_server

    from gsimplicit.explorer.page.visit import page

    port = checks.integer("port", port, 0, 65535)
    guard_of(host, port, token)  # before anything listens
    # where a page may come from is the guard's to say: it compares with what the browser calls this server
    logging.getLogger("bokeh.server.util").setLevel(logging.ERROR)  # warns of the star
    server: BaseServer = get_server(
        lambda: page(asked), port=port, address=host, websocket_origin="*", start=False, show=False, title="gsimplicit"
    )
    guard = guard_of(host, server.port, token)
    server._http.request_callback = Guarded(server._tornado, guard)
    shown = "127.0.0.1" if host == "0.0.0.0" else f"[{host}]" if ":" in host else host
    url = f"http://{shown}:{server.port}/" + (f"?token={guard.token}" if guard.token else "")
    return Served(url, server.run_until_shutdown, server.stop)

"""Who may see the page: a check of every request, that of the websocket too, before anything is served."""

from __future__ import annotations

import hmac
import ipaddress
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import parse_qsl, urlencode, urlsplit

__all__ = ["MOST_VISITORS", "Answer", "Guard", "guard_of", "is_loopback"]

SHORTEST = 16
"""Characters of a token of the user's own."""

MOST_VISITORS = 8
"""Pages open at a time, unless more are asked for: one thread draws them all, 4 ms a picture of 128 x 128."""

_PARTS = ("/static/", "/components/", "/favicon.ico")
"""Where the files that a page consists of are: they open none."""


@dataclass(frozen=True)
class Answer:
    """What is done with a request.

    Attributes:
        code: 200 lets it through, 302 sends it on, 403 refuses it, 503 has no room for it.
        said: Why it is refused, or where it is sent.
        cookie: Cookie to set, as a header has it; empty for none.
    """

    code: int
    said: str = ""
    cookie: str = ""


_THROUGH = Answer(200)


def is_loopback(host: str) -> bool:
    """Whether an address is this machine's own, which no other machine reaches.

    Examples:
        >>> from gsimplicit.explorer.guard import is_loopback
        >>> [is_loopback(host) for host in ("127.0.0.1", "localhost", "::1", "0.0.0.0", "example.org")]
        [True, True, True, False, False]
    """
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


@dataclass(frozen=True)
class Guard:
    """The rule of a server.

    Attributes:
        token: What a visitor must bring; empty where the page is for this machine alone.
        port: Of the server: cookies are shared by all servers of a machine.
        local: Whether it listens to this machine alone. Requests must then name it: a page elsewhere whose name was
            made to point here would else read along.
        most: Pages that may be open at a time.
    """

    token: str
    port: int
    local: bool
    most: int = MOST_VISITORS

    @property
    def cookie(self) -> str:
        """Name of the cookie that holds the token."""
        return f"gsimplicit_{self.port}"

    def answer(self, method: str, uri: str, host: str, origin: str | None, cookies: Mapping[str, str]) -> Answer:
        """What is done with a request.

        Args:
            method: GET, POST ...
            uri: Path and query.
            host: What the request calls this server.
            origin: Page that sent it, where the browser says so: always for a websocket.
            cookies: By name.
        """
        try:
            name, page = urlsplit(f"//{host}").hostname or "", urlsplit(origin or "").netloc
            parts = urlsplit(uri)
        except ValueError:  # half an address in brackets
            return Answer(403, "the request names no address")
        if self.local and not is_loopback(name):
            return Answer(403, "this page is served to its own machine alone")
        if origin is not None and page != host:
            return Answer(403, "the request comes from another page")
        if not self.token or self._same(cookies.get(self.cookie, "")):
            return _THROUGH
        given = parse_qsl(parts.query, keep_blank_values=True)
        if method == "GET" and any(name == "token" and self._same(value) for name, value in given):
            rest = urlencode([(name, value) for name, value in given if name != "token"])
            path = "/" + parts.path.lstrip("/\\")  # a path that begins with two slashes would lead elsewhere
            cookie = f"{self.cookie}={self.token}; Path=/; HttpOnly; SameSite=Strict"
            return Answer(302, f"{path}?{rest}" if rest else path, cookie)
        return Answer(403, "this page asks for a token: open the address that the server printed")

    def room(self, uri: str, pages: int, shown: int) -> Answer:
        """Whether there is room for what a request that was let through opens.

        Args:
            uri: Path and query.
            pages: Open now; one that a browser has left counts until it is forgotten, some seconds.
            shown: Those that a browser shows now: a websocket belongs to a page that is counted already, unless that
                was forgotten.
        """
        path = uri.partition("?")[0]
        if path.startswith(_PARTS) or (shown if path == "/ws" else pages) < self.most:
            return _THROUGH
        many = "1 page is" if self.most == 1 else f"{self.most} pages are"
        return Answer(
            503,
            f"{many} open here, and no more may be. This one asks again every few seconds. "
            "Who started the server can allow more: gsimplicit explore --visitors N",
        )

    def _same(self, value: str) -> bool:
        """In a time that does not tell how much of it is right."""
        return hmac.compare_digest(value.encode(), self.token.encode())


def guard_of(host: str, port: int, token: str | None, most: int = MOST_VISITORS) -> Guard:
    """The guard of a server that listens at an address.

    Args:
        host: Address.
        port: Port.
        token: Of the user's own; None makes one where others reach the server, and asks for none where they do not.
        most: Pages that may be open at a time.

    Raises:
        ValueError: The token is short, or holds what an address and a cookie cannot.
    """
    local = is_loopback(host)
    if token is not None and not (
        len(token) >= SHORTEST and token.isascii() and all(c.isalnum() or c in "-_" for c in token)
    ):
        raise ValueError(f"token must be {SHORTEST} or more letters, digits, - and _, got {len(token)} characters")
    return Guard(token if token is not None else "" if local else secrets.token_urlsafe(32), port, local, most)

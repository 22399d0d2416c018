"""A page that other machines reach is served to who brings the token, its websocket too."""

from __future__ import annotations

import asyncio
import urllib.error
import urllib.request
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from tornado.httpclient import HTTPClientError, HTTPRequest
from tornado.websocket import websocket_connect


@pytest.fixture(scope="module")
def url(served: Callable[..., str]) -> str:
    return served("--host", "0.0.0.0", "--grid", "32", "32")


def code_of(url: str, **headers: str) -> int:
    try:
        with urllib.request.urlopen(urllib.request.Request(url, headers=headers)) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code


@pytest.mark.parametrize("path", ["/", "/static/js/bokeh.min.js", "/ws", "/autoload.js", "/no", "//evil.org/?token=x"])
def test_nothing_is_served_without_the_token(url: str, path: str) -> None:
    assert code_of(url.partition("/?")[0] + path) == 403


def test_a_websocket_is_refused_without_the_cookie(url: str) -> None:
    host = url.split("/")[2]

    async def ask() -> Any:
        request = HTTPRequest(f"ws://{host}/ws", headers={"Origin": f"http://{host}"})
        return await websocket_connect(request, subprotocols=["bokeh", "x"])

    # the browser's driver has a loop on this thread
    with ThreadPoolExecutor(1) as aside, pytest.raises(HTTPClientError, match="403"):
        aside.submit(lambda: asyncio.run(ask())).result()


def test_with_the_token_the_page_marches_and_the_address_forgets_it(url: str, visit: Callable[[str], Any]) -> None:
    page = visit(url)
    page.until("a march", lambda: page.told()["steps"] > 0)
    assert "token" not in page.tab.url
    (cookie,) = [one for one in page.tab.context.cookies() if one["name"].startswith("gsimplicit_")]
    assert (cookie["httpOnly"], cookie["sameSite"]) == (True, "Strict")


def test_a_visitor_for_whom_there_is_no_room_is_told_and_gets_in_when_another_leaves(
    served: Callable[..., str], visit: Callable[[str], Any], browser: Any
) -> None:
    url = served("--grid", "32", "32", "--visitors", "1")
    first, waiting = visit(url), browser.new_page()
    answer = waiting.goto(url)
    assert answer.status == 503
    assert "1 page is open here, and no more may be" in waiting.inner_text("body")
    first.until("its page goes on", lambda: first.told()["steps"] > 0)
    first.close()
    waiting.wait_for_function("() => window.Bokeh && Bokeh.documents.length && Bokeh.documents[0].is_idle")
    waiting.close()


def test_a_page_of_this_machine_is_not_served_under_another_name(served: Callable[..., str]) -> None:
    local = served("--grid", "32", "32")
    assert code_of(local) == 200
    assert code_of(local, Host="evil.org") == 403
    assert code_of(local, Origin="http://evil.org") == 403

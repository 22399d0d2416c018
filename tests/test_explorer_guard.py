"""Who may see the explorer's page: addresses, tokens, names and room."""

from __future__ import annotations

import pytest

from gsimplicit.explorer.guard import guard_of, is_loopback


def test_only_this_machines_addresses_need_no_token() -> None:
    assert [is_loopback(h) for h in ("127.0.0.1", "127.1.2.3", "::1", "localhost")] == [True] * 4
    assert [is_loopback(h) for h in ("0.0.0.0", "10.0.0.1", "::", "localhost.evil.org", "")] == [False] * 5
    assert guard_of("127.0.0.1", 1, None).token == ""
    assert len(guard_of("0.0.0.0", 1, None).token) > 40
    assert guard_of("0.0.0.0", 1, None).token != guard_of("0.0.0.0", 1, None).token
    assert guard_of("127.0.0.1", 1, "a" * 16).token == "a" * 16


@pytest.mark.parametrize("token", ["", "short", "a" * 15, "a; Path=/" + "b" * 16, "ä" * 16, "a\n" * 10])
def test_a_token_that_is_short_or_breaks_out_of_a_cookie_is_refused(token: str) -> None:
    with pytest.raises(ValueError, match="token must be 16 or more letters"):
        guard_of("0.0.0.0", 1, token)


def test_requests_are_let_through_with_the_token_alone() -> None:
    guard = guard_of("0.0.0.0", 80, "t" * 16)

    def code(uri: str = "/", method: str = "GET", origin: str | None = None, **cookies: str) -> int:
        return guard.answer(method, uri, "here:80", origin, cookies).code

    assert (
        code() == code("/ws") == code(f"/?token={'u' * 16}") == code("/?token=") == code("/", gsimplicit_80="") == 403
    )
    assert code(gsimplicit_80="t" * 15) == code(gsimplicit_81="t" * 16) == 403
    assert code(f"/?token={'t' * 16}", "POST") == 403
    assert code(gsimplicit_80="t" * 16) == code("/ws", origin="http://here:80", gsimplicit_80="t" * 16) == 200
    assert code("/ws", origin="http://evil.org", gsimplicit_80="t" * 16) == 403
    answer = guard.answer("GET", f"//evil.org/?a=b&token={'t' * 16}", "here:80", None, {})
    assert (answer.code, answer.said) == (302, "/?a=b")
    assert answer.cookie == f"gsimplicit_80={'t' * 16}; Path=/; HttpOnly; SameSite=Strict"


def test_a_local_page_answers_to_its_own_names_alone() -> None:
    guard = guard_of("127.0.0.1", 80, None)
    names = ("127.0.0.1:80", "localhost:80", "[::1]:80", "evil.org:80", "")
    assert [guard.answer("GET", "/", name, None, {}).code for name in names] == [200, 200, 200, 403, 403]


def test_there_is_room_for_so_many_pages_and_for_all_that_they_consist_of() -> None:
    guard = guard_of("127.0.0.1", 80, None, most=2)
    assert [guard.room("/", pages, 0).code for pages in (0, 1, 2, 3)] == [200, 200, 503, 503]
    assert [guard.room(uri, 2, 2).code for uri in ("/autoload.js?x=/static/", "/ws", "/no")] == [503, 503, 503]
    assert [guard.room(uri, 2, 1).code for uri in ("/ws?x", "/static/js/bokeh.min.js", "/favicon.ico")] == [200] * 3
    assert "2 pages are open here" in guard.room("/", 2, 2).said


def test_half_an_address_in_brackets_is_refused() -> None:
    guard = guard_of("127.0.0.1", 80, None)
    assert [guard.answer("GET", "/", name, None, {}).code for name in ("[", "[::1")] == [403, 403]
    assert guard.answer("GET", "/ws", "127.0.0.1:80", "http://[", {}).code == 403
    assert guard.answer("GET", "//[", "127.0.0.1:80", None, {}).code == 403

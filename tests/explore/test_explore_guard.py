"""Who may ask: Host, Origin, methods, types; and what every answer says."""

from __future__ import annotations

import json
from typing import Any

import pytest

from eyeshot.explore.guard import Hosts, is_loopback

HEADERS = {
    "x-content-type-options": "nosniff",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "referrer-policy": "no-referrer",
}
ASK = {"source": {"kind": "example", "name": "five-by-five"}}


def check_headers(headers: Any) -> None:
    for name, value in HEADERS.items():
        assert headers.get(name) == value, name
    policy = dict(
        part.partition(" ")[::2] for part in headers["content-security-policy"].split("; ")
    )
    for name in ("default-src", "object-src", "base-uri", "form-action", "frame-ancestors"):
        assert policy[name] == "'none'"
    for name in ("script-src", "style-src", "connect-src"):
        assert policy[name] == "'self'"
    assert "unsafe" not in headers["content-security-policy"]
    assert headers["cache-control"] in ("no-store", "no-cache")
    assert "permissions-policy" in headers
    assert "server" not in headers
    assert not [name for name in headers if name.startswith("access-control")]


# --- names


@pytest.mark.parametrize("host", ["127.0.0.1:80", "localhost:80", "LocalHost:80", "[::1]:80"])
def test_our_names(host: str) -> None:
    hosts = Hosts("127.0.0.1", 80)
    assert hosts.ours(host)
    assert hosts.ours(host.removesuffix(":80"))
    assert not hosts.ours(host.replace(":80", ":81"))


@pytest.mark.parametrize(
    "host",
    [
        *(
            "evil.example:80",
            "localhost.evil.example:80",
            "127.0.0.1.evil.example:80",
            "127.0.0.2:80",
        ),
        *(
            "localhost.:80",
            "0.0.0.0:80",
            "0:80",
            "2130706433:80",
            "127.1:80",
            "[::ffff:127.0.0.1]:80",
        ),
        *(
            "[::1%lo]:80",
            "user@localhost:80",
            "localhost:080000",
            "localhost:80:80",
            "localhost:80/x",
        ),
        *(":80", "[::1", "localhost:80,", "localhost:+80", "localhost:８０", "", " localhost:80"),
        *("localhost:80\n", "localhost:80 evil"),
    ],
)
def test_names_that_are_not_ours(host: str) -> None:
    assert not Hosts("127.0.0.1", 80).ours(host)


def test_a_server_for_others_goes_by_its_address() -> None:
    """An address cannot be rebound; a name can."""
    everywhere = Hosts("0.0.0.0", 80)
    assert everywhere.ours("192.0.2.7") and everywhere.ours("[2001:db8::7]")
    assert not everywhere.ours("evil.example") and not everywhere.ours("localhost")
    named = Hosts("Box.Example", 8080)
    assert named.ours("box.example:8080") and not named.ours("192.0.2.7:8080")


@pytest.mark.parametrize(
    ("host", "yes"),
    [
        *(
            ("127.0.0.1", True),
            ("127.9.9.9", True),
            ("::1", True),
            ("[::1]", True),
            ("LOCALHOST", True),
        ),
        *(("0.0.0.0", False), ("::", False), ("192.168.0.1", False), ("localhost.example", False)),
    ],
)
def test_loopback(host: str, yes: bool) -> None:
    assert is_loopback(host) is yes


# --- requests


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:{port}", "localhost:1", "127.0.0.1", "localhost.:{port}"]
)
@pytest.mark.parametrize("path", ["/", "/main.js", "/api/catalog", "/api/analyze"])
def test_a_forged_host_is_refused(server: Any, host: str, path: str) -> None:
    host = host.format(port=server.port)
    method = "POST" if path == "/api/analyze" else "GET"
    headers = {"host": host, "origin": f"http://{host}"}
    answer = server.client.request(method, path, headers=headers, json=ASK)
    assert answer.status_code == 403
    assert "Host" in answer.json()["error"]["message"]
    check_headers(answer.headers)


def test_a_host_twice_or_not_at_all_is_refused(server: Any) -> None:
    for hosts in (b"", b"Host: %s\r\nHost: %s\r\n" % ((server.host.encode(),) * 2)):
        answer = server.raw(b"GET / HTTP/1.1\r\n" + hosts + b"Connection: close\r\n\r\n")
        assert answer.split()[1] in (b"400", b"403")
    answer = server.raw(b"GET / HTTP/1.0\r\n\r\n")
    assert answer.split()[1] == b"403"


@pytest.mark.parametrize(
    "origin",
    [
        *(
            None,
            "null",
            "",
            "http://evil.example",
            "https://{host}",
            "http://localhost:1",
            "{host}",
        ),
        *("http://{host}.evil.example", "http://{host}/", "http://evil@{host}", "file://"),
    ],
)
def test_a_post_from_elsewhere_is_refused(server: Any, origin: str | None) -> None:
    headers = {} if origin is None else {"origin": origin.format(host=server.host)}
    request = server.client.build_request("POST", "/api/analyze", json=ASK)
    del request.headers["origin"]
    request.headers.update(headers)
    answer = server.client.send(request)
    assert answer.status_code == 403
    check_headers(answer.headers)


def test_another_of_our_names_is_not_the_same_origin(server: Any) -> None:
    answer = server.post("analyze", ASK, headers={"origin": f"http://localhost:{server.port}"})
    assert answer.status_code == 403
    both = {"origin": f"http://localhost:{server.port}", "host": f"LOCALHOST:{server.port}"}
    assert server.post("analyze", ASK, headers=both).status_code == 200


@pytest.mark.parametrize("site", ["cross-site", "same-site", "nonsense", ""])
@pytest.mark.parametrize("path", ["catalog", "analyze"])
def test_what_the_browser_calls_another_site_is_refused(server: Any, site: str, path: str) -> None:
    headers = {"sec-fetch-site": site}
    if path == "catalog":
        answer = server.client.get("/api/catalog", headers=headers)
    else:
        answer = server.post(path, ASK, headers=headers)
    assert answer.status_code == 403


def test_a_link_to_the_page_works_from_anywhere(server: Any) -> None:
    request = server.client.build_request("GET", "/", headers={"sec-fetch-site": "cross-site"})
    del request.headers["origin"]
    assert server.client.send(request).status_code == 200
    typed = server.client.get("/api/catalog", headers={"sec-fetch-site": "none"})
    assert typed.status_code == 200


@pytest.mark.parametrize("method", "POST PUT DELETE PATCH OPTIONS TRACE CONNECTX".split())
@pytest.mark.parametrize("path", ["/", "/main.js", "/api/catalog"])
def test_methods_of_what_is_read(server: Any, method: str, path: str) -> None:
    answer = server.client.request(method, path)
    assert answer.status_code == 405
    assert answer.headers["allow"] == "GET, HEAD"
    check_headers(answer.headers)


@pytest.mark.parametrize("method", "GET HEAD PUT DELETE PATCH OPTIONS".split())
@pytest.mark.parametrize("path", ["/api/analyze", "/api/upload"])
def test_methods_of_what_is_asked(server: Any, method: str, path: str) -> None:
    answer = server.client.request(method, path)
    assert answer.status_code == 405
    assert answer.headers["allow"] == "POST"


@pytest.mark.parametrize(
    "kind",
    [
        *(
            None,
            "text/plain",
            "application/x-www-form-urlencoded",
            "multipart/form-data; boundary=x",
        ),
        *("application/jsonx", "application/json; charset=utf-16", "application/json, text/plain"),
    ],
)
def test_a_form_is_no_question(server: Any, kind: str | None) -> None:
    """These are what a page elsewhere may send without asking first."""
    headers = {} if kind is None else {"content-type": kind}
    for path in ("/api/analyze", "/api/upload"):
        answer = server.client.post(path, content=json.dumps(ASK).encode(), headers=headers)
        assert answer.status_code == 415
        check_headers(answer.headers)


def test_a_compressed_body_is_not_read(server: Any) -> None:
    answer = server.post("analyze", ASK, headers={"content-encoding": "gzip"})
    assert answer.status_code == 415


def test_a_body_of_two_lengths_is_not_read(server: Any) -> None:
    """Where one party believes the one and another the other, a second request hides in the first."""
    answer = server.raw(
        b"POST /api/analyze HTTP/1.1\r\nHost: %s\r\nOrigin: %s\r\nContent-Type: application/json\r\n"
        b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n0\r\n\r\n"
        % (server.host.encode(), server.origin.encode())
    )
    assert answer.startswith(b"HTTP/1.1 400 ") and b"Transfer-Encoding" in answer


@pytest.mark.parametrize(
    "path",
    [
        *("/../page.py", "/..%2fpage.py", "/%2e%2e/page.py", "/live/../../page.py", "//etc/passwd"),
        *(
            "/page.py",
            "/etc/passwd",
            "/style/",
            "/style",
            "/index.html/",
            "/main.js/",
            "/main.js%00",
        ),
        *(
            "/..\\page.py",
            "/vendor/README.md",
            "/__pycache__",
            "/api",
            "/api/",
            "/api/none",
            "/MAIN.JS",
        ),
        *("http://{host}/../page.py", "/style/..%5c..%5cpage.py", "/%6dain.js/..", "/api/analyze/"),
    ],
)
def test_only_the_page_s_own_files(server: Any, path: str) -> None:
    target = path.format(host=server.host).encode()
    head = b"GET %s HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n" % (
        target,
        server.host.encode(),
    )
    answer = server.raw(head)
    assert answer.startswith(b"HTTP/1.1 404 "), answer[:200]
    assert b"root:" not in answer and b"import" not in answer


def test_the_page_s_files(server: Any) -> None:
    page = server.client.get("/")
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert 'src="main.js"' in page.text
    kinds = {
        "main.js": "text/javascript",
        "style/base.css": "text/css",
        "icon.svg": "image/svg+xml",
    }
    for path, kind in kinds.items():
        answer = server.client.get(path)
        assert answer.status_code == 200
        assert answer.headers["content-type"].partition(";")[0] == kind
        check_headers(answer.headers)
        again = server.client.get(path, headers={"if-none-match": answer.headers["etag"]})
        assert again.status_code == 304 and not again.content
        check_headers(again.headers)
        head = server.client.head(path)
        assert head.status_code == 200 and not head.content


@pytest.mark.parametrize(
    "request_", [b"\x16\x03\x01\x02\x00\x01\x00\n\r\n\r\n", b"GET / HTTP/x\r\n\r\n", b"x\r\n\r\n"]
)
def test_what_is_not_http(server: Any, request_: bytes) -> None:
    head, _, _ = server.raw(request_).partition(b"\r\n\r\n")
    lines = head.decode().split("\r\n")
    assert lines[0] == "HTTP/1.1 400 Bad Request"
    check_headers(dict(line.lower().split(": ", 1) for line in lines[1:]))


def test_a_web_socket_is_refused(server: Any) -> None:
    answer = server.raw(
        b"GET /api/analyze HTTP/1.1\r\nHost: %s\r\nConnection: Upgrade, close\r\nUpgrade: websocket\r\n"
        b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
        % server.host.encode()
    )
    assert answer.startswith(b"HTTP/1.1 405 ")

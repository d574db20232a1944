"""Nobody comes in: each way in is refused, by a real server on loopback."""

import http.client
import json

import pytest

from sautomed.studio.guard import MAX_BODY_BYTES

PLACES = ["", "main.js", "api/scans", "api/intensities/0/1"]


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("token", ["", "x", "no-token-at-all", "%00"])
def test_without_the_token_nothing_is_answered(closed_studio, place, token):
    answer = closed_studio.ask(place, token=token)
    assert answer.status == 403
    assert b"block_0" not in answer.body


def test_with_the_token_the_page_is_answered(closed_studio):
    assert b"sautomed studio" in closed_studio.ask("").body
    assert [scan["case"] for scan in closed_studio.ask("api/scans").json["scans"]] == ["block_0", "block_1"]


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://example.org"},
        {"Origin": "null"},
        {"Origin": "http://127.0.0.1:1"},
        {"Origin": "http://localhost"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Host": "example.org"},
        {"Host": "127.0.0.1"},
        {"Host": ""},
    ],
)
@pytest.mark.parametrize("place", PLACES)
def test_another_page_or_another_name_is_refused(closed_studio, headers, place):
    assert closed_studio.ask(place, headers=headers).status in (400, 403)


def test_another_page_cannot_edit(studio):
    opened = studio.open()
    body = {"revision": opened["revision"], "edit": {"kind": "lock", "slice": 0}}
    assert studio.ask("api/edit", body, headers={"Origin": "https://example.org"}).status == 403
    assert studio.workspace.describe()["open"] == "block_0"
    assert studio.edit(opened["revision"], kind="lock", slice=0).status == 200  # nothing had changed


def test_a_form_of_another_page_cannot_send_json(closed_studio):
    """Without a preflight a page may send only these three types to others."""
    for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data"):
        assert closed_studio.ask("api/cancel", {}, headers={"Content-Type": kind}).status == 415


def test_the_name_localhost_is_ours_too(closed_studio):
    name = f"localhost:{closed_studio.address.port}"
    assert closed_studio.ask("api/scans", headers={"Host": name, "Origin": f"http://{name}"}).status == 200


def test_two_host_headers_are_refused(closed_studio):
    connection = http.client.HTTPConnection("127.0.0.1", closed_studio.address.port, timeout=20)
    connection.putrequest("GET", f"/{closed_studio.address.token}/api/scans", skip_host=True)
    connection.putheader("Host", f"127.0.0.1:{closed_studio.address.port}")
    connection.putheader("Host", "example.org")
    connection.endheaders()
    assert connection.getresponse().status in (400, 403)
    connection.close()


@pytest.mark.parametrize(
    "path",
    [
        "../../../../etc/passwd", "..%2f..%2fetc%2fpasswd", "%2e%2e/%2e%2e/etc/passwd", "api/../../etc/passwd",
        "....//etc/passwd", "..\\..\\etc\\passwd", "api/intensities/../../x/1", "main.js/../../guard.py", "%00",
        "//etc/passwd", "api/intensities/0/..%2f1", ".hidden", "guard.py", "page/main.js", "main.js%00.png",
    ],
)  # fmt: skip
def test_no_path_leads_elsewhere(closed_studio, path):
    answer = closed_studio.ask(path)
    assert answer.status in (400, 404, 422), answer.body
    assert b"root:" not in answer.body
    assert b"def " not in answer.body


@pytest.mark.parametrize("method", ["PUT", "DELETE", "OPTIONS", "TRACE", "CONNECT", "PATCH", "HEAD"])
def test_other_methods_are_refused(closed_studio, method):
    assert closed_studio.ask("api/scans", method=method).status in (400, 405)


def test_a_large_body_is_refused(closed_studio):
    answer = closed_studio.ask("api/edit", b" " * (MAX_BODY_BYTES + 1), raw=True)
    assert answer.status == 413


def test_a_large_body_in_pieces_is_refused(closed_studio):
    pieces = (b" " * 100_000 for _ in range(MAX_BODY_BYTES // 100_000 + 2))
    try:
        status = closed_studio.ask("api/edit", pieces, raw=True).status
    except (BrokenPipeError, ConnectionResetError):  # the server had closed while we still wrote
        status = 413
    assert status == 413


def test_a_compressed_body_is_not_unpacked(closed_studio):
    import gzip

    bomb = gzip.compress(b" " * 50_000_000)
    answer = closed_studio.ask("api/edit", bomb, raw=True, headers={"Content-Encoding": "gzip"})
    assert answer.status == 400  # read as it is, it is no JSON


@pytest.mark.parametrize(
    "body", [b"", b"{", b"[]", b"null", b"[" * 100_000, b'{"case": 1}', b"\xff\xfe", b"1" * 10_000]
)
def test_what_is_no_request_is_refused(closed_studio, body):
    for place in ("open", "edit", "undo", "walk", "save", "done"):
        assert closed_studio.ask(f"api/{place}", body, raw=True).status in (400, 422)
    assert closed_studio.ask("api/scans").status == 200


@pytest.mark.parametrize("place", ["", "main.js", "api/scans", "no-such"])
def test_every_answer_forbids_what_the_page_does_not_need(closed_studio, place):
    headers = closed_studio.ask(place).headers
    policy = dict(rule.strip().split(" ", 1) for rule in headers["content-security-policy"].split(";"))
    assert policy["default-src"] == policy["base-uri"] == policy["form-action"] == policy["frame-ancestors"] == "'none'"
    assert {policy[name] for name in ("script-src", "style-src", "img-src", "connect-src")} == {"'self'"}
    assert "unsafe" not in headers["content-security-policy"]
    assert "*" not in headers["content-security-policy"]
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "no-referrer"
    assert headers["cache-control"] == "no-store"
    assert not {"server", "access-control-allow-origin", "set-cookie"} & set(headers)


def test_a_refusal_has_the_same_headers(closed_studio):
    assert "content-security-policy" in closed_studio.ask("", token="wrong").headers


def test_an_upgrade_to_a_websocket_is_no_way_around(closed_studio):
    headers = {"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Key": "x", "Sec-WebSocket-Version": "13"}
    assert closed_studio.ask("api/scans", headers=headers, token="wrong").status == 403
    assert closed_studio.ask("api/scans", headers=headers).status == 200  # an ordinary request


def test_tokens_are_long_and_new_each_time(scans, tmp_path):
    from sautomed.studio.server import listen

    addresses = [listen() for _ in range(3)]
    assert len({address.token for address in addresses}) == 3
    assert min(len(address.token) for address in addresses) >= 32
    for address in addresses:
        address.listening.close()


def test_the_answers_of_the_server_are_json_that_every_browser_reads(closed_studio):
    json.loads(closed_studio.ask("api/scans").body, parse_constant=lambda name: pytest.fail(name))

"""Where the server listens."""

import pytest

from sautomed.errors import UsageError
from sautomed.studio.server import listen


@pytest.fixture
def address():
    found = listen()
    yield found
    found.listening.close()


def test_by_default_only_this_machine_reaches_it(address):
    assert address.listening.getsockname()[0] == "127.0.0.1"
    assert address.hosts == (f"127.0.0.1:{address.port}", f"localhost:{address.port}")
    assert address.url == f"http://127.0.0.1:{address.port}/{address.token}/"


@pytest.mark.parametrize("host", ["", "0.0.0.0", "::", "*"])
def test_it_does_not_listen_on_all_addresses(host):
    with pytest.raises(UsageError, match="stands for all addresses"):
        listen(host)


@pytest.mark.parametrize(("host", "port"), [("192.0.2.1", 0), ("no such host", 0), ("127.0.0.1", 99_999)])
def test_what_is_no_address_of_this_machine_is_a_message(host, port):
    with pytest.raises(UsageError, match="cannot be listened on"):
        listen(host, port)


def test_a_name_that_was_given_is_the_only_one(address):
    other = listen("localhost")
    try:
        assert other.hosts == (f"localhost:{other.port}",)
    finally:
        other.listening.close()

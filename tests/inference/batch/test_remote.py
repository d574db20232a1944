"""What stores say of their files."""

import base64
import hashlib

import pytest

from sautomed.inference.batch.remote import _remote_file

MD5 = hashlib.md5(b"content").hexdigest()


@pytest.mark.parametrize(
    ("info", "md5"),
    [
        ({"ETag": f'"{MD5}"'}, MD5),
        ({"ETag": MD5}, MD5),
        ({"etag": "CJi0", "md5Hash": base64.b64encode(bytes.fromhex(MD5)).decode()}, MD5),
        ({"ETag": f'"{MD5}-2"'}, None),  # of two pieces
        ({"ETag": '"5f3c-61a"'}, None),  # of a web server
        ({}, None),
    ],
)
def test_the_md5_of_a_file_is_what_the_store_says(info, md5):
    assert _remote_file(info).md5 == md5

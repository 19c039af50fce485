"""The Secrets that the leader makes for balancers."""

from __future__ import annotations

import base64
import json

from switchtender_operator.publish.secrets import keys_secret, token_secret


def test_keys_have_the_format_of_a_balancers_key_file() -> None:
    made = keys_secret("ns", "st-config", "default")
    assert made["metadata"]["name"] == "st-config-keys"
    document = json.loads(base64.b64decode(made["data"]["keys.json"]))
    assert document["format"] == 1
    (key,) = document["keys"]
    assert 1 <= key["id"] <= 255
    assert len(base64.b64decode(key["secret"], validate=True)) == 64


def test_a_token_is_long_and_fit_for_a_header() -> None:
    made = token_secret("ns", "st-config", "default")
    assert made["metadata"]["name"] == "st-config-token"
    token = base64.b64decode(made["data"]["token"]).decode("ascii")
    assert len(base64.urlsafe_b64decode(token)) == 48
    assert token == token.strip()


def test_each_is_made_of_chance_and_belongs_to_nobody() -> None:
    for make in (keys_secret, token_secret):
        one, other = make("ns", "c", "default"), make("ns", "c", "default")
        assert one["data"] != other["data"]
        assert "ownerReferences" not in one["metadata"]
        assert one["metadata"]["labels"]["switchtender.dev/balancer"] == "default"

"""Namespaces: an operator that watches one or several touches no other, with rights in those alone."""

import time

import pytest

from tests.e2e.installation import Installation
from tests.e2e.voice import Voice


@pytest.mark.parametrize(
    "watched", [pytest.param(1, id="one-namespace", marks=pytest.mark.full), pytest.param(2, id="several-namespaces")]
)
def test_only_watched_namespaces_are_touched(watched, cluster, definitions, tmp_path):
    """With roles in those namespaces only: a list at cluster scope would be forbidden."""
    with (
        cluster.namespace("system") as system,
        cluster.namespace() as a,
        cluster.namespace() as b,
        cluster.namespace() as outside,
    ):
        names = [a, b][:watched]
        installation = Installation(cluster, system, tmp_path, {"watchNamespaces": names})
        everywhere = [rule for document in installation.documents_of("ClusterRole") for rule in document["rules"]]
        assert all(rule["resources"] == ["customresourcedefinitions"] for rule in everywhere)
        voices = [Voice(cluster, name) for name in names]
        stranger = Voice(cluster, outside)
        try:
            with installation.operator() as operator:
                for voice in (*voices, stranger):
                    voice.create_group("ivr")
                    voice.create_pod("fs-0")
                for voice in voices:
                    voice.until_states("ivr", {"fs-0": "Ready"})
                time.sleep(1)
                assert not stranger.sets("ivr")
                assert stranger.conditions("ivr") == {}
                assert "403 Forbidden" not in operator.log.read_text()
        finally:
            installation.remove()

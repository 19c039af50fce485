"""Label selectors of scale subresources."""

import pytest

from switchtender_operator.domain.selectors import SelectorError, selector

LABELS = {"app": "fs", "tier": "media", "example.com/x": ""}


@pytest.mark.parametrize(
    "text",
    [
        "app=fs", "app==fs,tier=media", "app in (a, fs),tier", "!gone", "tier!=web", "gone!=x", "tier notin (web,b)",
        "gone notin (a)", "example.com/x=", "example.com/x", "app in (fs),tier notin (a,b),!c",
    ],
)  # fmt: skip
def test_what_matches(text: str):
    assert selector(text)(LABELS)


@pytest.mark.parametrize(
    "text", ["app=x", "app=fs,tier=x", "app in (a,b)", "gone", "!app", "app!=fs", "app notin (fs)", ""]
)
def test_what_does_not(text: str):
    assert not selector(text)(LABELS)


@pytest.mark.parametrize("text", ["app=fs,", "a b", "app in fs", "=x", "app~x", "app in (a,b", "a=b c"])
def test_what_is_none(text: str):
    with pytest.raises(SelectorError):
        selector(text)

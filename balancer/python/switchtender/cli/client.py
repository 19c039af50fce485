"""Asks a running balancer over HTTP. Knows the routes, not what the answers mean."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from typing import Any

_TIMEOUT = 5.0


class ApiError(Exception):
    """The balancer could not be asked, or refused the question; the text is for a person."""


class BalancerApi:
    """The HTTP interface of the balancer at ``url`` (http or https)."""

    def __init__(self, url: str) -> None:
        if not url.startswith(("http://", "https://")):
            raise ApiError(f"--url: {url}: accepted: an http or https address such as http://127.0.0.1:8080")
        self._url = url.rstrip("/")

    def nodes(self) -> list[dict[str, Any]]:
        """Every node. Raises ApiError."""
        found: list[dict[str, Any]] = self._ask("/api/v1/nodes")["nodes"]
        return found

    def explain(self, question: dict[str, Any]) -> dict[str, Any]:
        """Where a call would go. Raises ApiError."""
        return self._ask("/api/v1/explain", question)

    def _ask(self, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(  # noqa: S310 - the scheme was checked
            self._url + path, data=data, headers={"Content-Type": "application/json"}
        )
        try:
            with urllib.request.urlopen(request, timeout=_TIMEOUT) as answer:  # noqa: S310 - as above
                document: dict[str, Any] = json.load(answer)
        except urllib.error.HTTPError as error:
            raise ApiError(_reason(error)) from None
        except (OSError, ValueError) as error:
            reason = getattr(error, "reason", error)
            raise ApiError(f"no balancer answers at {self._url}: {reason}") from None
        return document


def _reason(error: urllib.error.HTTPError) -> str:
    try:
        return str(json.load(error)["error"])
    except (ValueError, KeyError, TypeError):
        return f"{error.code} {error.reason}"

"""Asks a running balancer over HTTP. Knows the routes, not what the answers mean."""

from __future__ import annotations

import http.client
import json
import urllib.error
import urllib.parse
import urllib.request
from typing import Any

_TIMEOUT = 5.0
_PLAIN = frozenset({400, 403, 409})
"""Refusals that say all there is to say."""


class ApiError(Exception):
    """The balancer could not be asked, or refused the question; the text is for a person."""


class BalancerApi:
    """The HTTP interface of the balancer at ``url`` (http or https). No proxy stands in between. Raises ApiError."""

    def __init__(self, url: str) -> None:
        if not url.startswith(("http://", "https://")):
            raise ApiError(f"--url: {url}: accepted: an http or https address such as http://127.0.0.1:8080")
        self._url = url.rstrip("/")
        self._opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))

    def nodes(self) -> list[dict[str, Any]]:
        """Every node. Raises ApiError."""
        found = self._ask("/api/v1/nodes").get("nodes")
        if not isinstance(found, list):
            raise self._stranger()
        return found

    def unresolved(self) -> dict[str, list[str]]:
        """By group (namespace/name) the hosts that no address is known of. Raises ApiError."""
        found = self._ask("/api/v1/groups").get("groups")
        if not isinstance(found, list):
            raise self._stranger()
        hosts = {f"{group['namespace']}/{group['group']}": group.get("unresolved") for group in found}
        return {group: names for group, names in hosts.items() if names}

    def explain(self, question: dict[str, Any]) -> dict[str, Any]:
        """Where a call would go. Raises ApiError."""
        answer = self._ask("/api/v1/explain", question)
        if "choice" not in answer:
            raise self._stranger()
        return answer

    def order(self, node: str, verb: str, details: dict[str, Any]) -> dict[str, Any]:
        """Have an order carried out. Raises ApiError."""
        answer = self._ask(f"/api/v1/nodes/{urllib.parse.quote(node, safe='')}/{verb}", details)
        if not isinstance(answer.get("members"), list):
            raise self._stranger()
        return answer

    def _ask(self, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        data = None if body is None else json.dumps(body).encode()
        try:
            request = urllib.request.Request(  # noqa: S310 - the scheme was checked
                self._url + path, data=data, headers={"Content-Type": "application/json"}
            )
            with self._opener.open(request, timeout=_TIMEOUT) as answer:
                document = json.load(answer)
        except urllib.error.HTTPError as error:
            raise ApiError(self._refusal(error)) from None
        except json.JSONDecodeError:
            raise self._stranger() from None
        except (OSError, ValueError, http.client.HTTPException) as error:
            reason = getattr(error, "reason", None) or str(error) or type(error).__name__
            raise ApiError(f"no balancer answers at {self._url}: {reason}; --url says where it is") from None
        if not isinstance(document, dict):
            raise self._stranger()
        return document

    def _refusal(self, error: urllib.error.HTTPError) -> str:
        try:
            reason = str(json.load(error)["error"])
        except (OSError, ValueError, KeyError, TypeError, http.client.HTTPException):
            reason = str(error.reason)
        return reason if error.code in _PLAIN else f"{self._url} answers {error.code}: {reason}"

    def _stranger(self) -> ApiError:
        return ApiError(f"what answers at {self._url} is no balancer of this version; --url says where it is")

"""Asks a running balancer over HTTP. Knows the routes, not what the answers mean."""

from __future__ import annotations

import contextlib
import http.client
import json
import ssl
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from switchtender.cli.exits import Failure
from switchtender.cli.server_events import parsed
from switchtender.cli.token import NO_TOKEN, Token

_TIMEOUT = 5.0
"""Seconds that an answer may take, and that may pass between two views of ``live``, which come each second."""
_SILENCE = 40.0
"""Seconds without a word, not even a heartbeat (15 s), after which a stream is given up."""
_PLAIN = frozenset({400, 403, 409})
"""Refusals that say all there is to say."""


class ApiError(Failure):
    """The balancer could not be asked, or refused the question; the text is for a person."""


class Told(NamedTuple):
    """One event of a stream: its name, and the object that it brought."""

    name: str
    document: dict[str, Any]


class BalancerApi:
    """The HTTP interface of the balancer at ``url`` (http or https). No proxy stands in between, and no redirect is
    followed: the token is for this balancer alone.

    ``ca_file``: certificates that vouch for it over https, in place of the system's. ``token`` is sent with admin verbs
    only. ``patience``: seconds that an answer may take. Raises ApiError.
    """

    def __init__(
        self, url: str, *, ca_file: Path | None = None, token: Token = NO_TOKEN, patience: float | None = None
    ) -> None:
        if not url.startswith(("http://", "https://")):
            raise ApiError(f"--url: {url}: accepted: an http or https address such as http://127.0.0.1:8080")
        self._url = url.rstrip("/")
        self._patience = _TIMEOUT if patience is None else patience
        self._token = token
        handlers: list[urllib.request.BaseHandler] = [urllib.request.ProxyHandler({}), _NoRedirects()]
        if url.startswith("https://"):
            handlers.append(urllib.request.HTTPSHandler(context=_trust(ca_file)))
        self._opener = urllib.request.build_opener(*handlers)

    def nodes(self) -> list[dict[str, Any]]:
        """Every node. Raises ApiError."""
        found = self._ask("/api/v1/nodes").get("nodes")
        if not isinstance(found, list):
            raise self._stranger()
        return found

    def groups(self) -> list[dict[str, Any]]:
        """Every group. Raises ApiError."""
        found = self._ask("/api/v1/groups").get("groups")
        if not isinstance(found, list):
            raise self._stranger()
        return found

    def events(self, after: int, limit: int = 1000) -> dict[str, Any]:
        """The first ``limit`` events after this id, with the ids that are kept and the instance. Raises ApiError."""
        answer = self._ask(f"/api/v1/events?after={after}&limit={limit}")
        if not isinstance(answer.get("events"), list) or "instance" not in answer:
            raise self._stranger()
        return answer

    def latest_events(self, limit: int = 1000) -> list[dict[str, Any]]:
        """The last ``limit`` events, oldest first. Raises ApiError."""
        found = self._ask(f"/api/v1/events?limit={limit}").get("events")
        if not isinstance(found, list):
            raise self._stranger()
        return found

    def balancer(self) -> dict[str, Any]:
        """The process: who it is, whether it is ready, what it carries. Raises ApiError."""
        answer = self._ask("/api/v1/balancer")
        if "instance" not in answer:
            raise self._stranger()
        return answer

    def follow_events(self, after: int) -> Iterator[dict[str, Any]]:
        """Events after this id as they come, until the balancer ends the stream. Raises ApiError."""
        for told in self._stream("/api/v1/events", _SILENCE, after=after):
            if told.name == "event":
                yield told.document

    def live(self) -> Iterator[Told]:
        """``view`` each second, ``event`` as they happen, until the balancer ends the stream. Raises ApiError."""
        return self._stream("/api/v1/live", self._patience)

    def explain(self, question: dict[str, Any]) -> dict[str, Any]:
        """Where a call would go. Raises ApiError."""
        answer = self._ask("/api/v1/explain", question)
        if "choice" not in answer:
            raise self._stranger()
        return answer

    def start_trace(self, call_id: str, seconds: int, per_second: int) -> dict[str, Any]:
        """Have a call followed. Raises ApiError."""
        asked = {"callId": call_id, "seconds": seconds, "messagesPerSecond": per_second}
        answer = self._ask("/api/v1/traces", asked, admin=True)
        if not {"id", "until"} <= set(answer):
            raise self._stranger()
        return answer

    def follow_trace(self, trace_id: int, after: int) -> Iterator[Told]:
        """``entry`` for each after this id, and ``end``, until the trace is over. Raises ApiError."""
        return self._stream(f"/api/v1/traces/{trace_id}", _SILENCE, admin=True, after=after)

    def end_trace(self, trace_id: int) -> dict[str, Any]:
        """End a trace; it as it is then. Raises ApiError."""
        return self._ask(f"/api/v1/traces/{trace_id}", admin=True, method="DELETE")

    def order(self, node: str, verb: str, details: dict[str, Any]) -> dict[str, Any]:
        """Have an order carried out. Raises ApiError."""
        answer = self._ask(f"/api/v1/nodes/{urllib.parse.quote(node, safe='')}/{verb}", details, admin=True)
        if not isinstance(answer.get("members"), list):
            raise self._stranger()
        return answer

    def _ask(
        self, path: str, body: dict[str, Any] | None = None, *, admin: bool = False, method: str | None = None
    ) -> dict[str, Any]:
        request = self._request(path, body, admin=admin, method=method)
        with self._speaking(), self._opener.open(request, timeout=self._patience) as answer:
            document = json.load(answer)
        if not isinstance(document, dict):
            raise self._stranger()
        return document

    def _stream(self, path: str, silence: float, *, admin: bool = False, after: int | None = None) -> Iterator[Told]:
        """Server-sent events, those ``after`` this id; ``silence``: seconds without a word after which nobody is there
        any more.
        """
        request = self._request(path, None, admin=admin)
        request.add_header("Accept", "text/event-stream")
        if after is not None:
            request.add_header("Last-Event-ID", str(after))
        with self._speaking(), self._opener.open(request, timeout=silence) as answer:
            if answer.headers.get_content_type() != "text/event-stream":
                raise self._stranger()
            for event in parsed(answer):
                document = json.loads(event.data)
                if not isinstance(document, dict):
                    raise self._stranger()
                yield Told(event.name, document)

    def _request(
        self, path: str, body: dict[str, Any] | None, *, admin: bool, method: str | None = None
    ) -> urllib.request.Request:
        data = None if body is None else json.dumps(body).encode()
        headers = {"Content-Type": "application/json"}
        if admin and self._token.value is not None:
            headers["Authorization"] = f"Bearer {self._token.value}"
        with self._speaking():
            return urllib.request.Request(self._url + path, data=data, headers=headers, method=method)  # noqa: S310 - the scheme was checked

    @contextlib.contextmanager
    def _speaking(self) -> Iterator[None]:
        """Whatever goes wrong while the balancer is asked becomes an ApiError."""
        try:
            yield
        except urllib.error.HTTPError as error:
            raise ApiError(self._refusal(error)) from None
        except json.JSONDecodeError:
            raise self._stranger() from None
        except (OSError, ValueError, http.client.HTTPException) as error:
            reason = getattr(error, "reason", None) or str(error) or type(error).__name__
            if isinstance(reason, ssl.SSLCertVerificationError):
                advice = "--ca-file names the certificates that vouch for it"
                raise ApiError(f"{self._url} is not trusted: {reason.verify_message}; {advice}") from None
            raise ApiError(f"no balancer answers at {self._url}: {reason}; --url says where it is") from None

    def _refusal(self, error: urllib.error.HTTPError) -> str:
        try:
            reason = str(json.load(error)["error"])
        except (OSError, ValueError, KeyError, TypeError, http.client.HTTPException):
            reason = str(error.reason)
        if error.code == 401 and self._token.advice:
            return f"{reason}; {self._token.advice}"
        return reason if error.code in _PLAIN else f"{self._url} answers {error.code}: {reason}"

    def _stranger(self) -> ApiError:
        return ApiError(f"what answers at {self._url} is no balancer of this version; --url says where it is")


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """A balancer sends nobody elsewhere; what would is answered as the error that it is."""

    def redirect_request(self, *_: Any) -> None:
        return None


def _trust(ca_file: Path | None) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=ca_file)
    except ssl.SSLError:
        raise ApiError(f"--ca-file: {ca_file}: holds no certificate; accepted: one or more in PEM") from None
    except OSError as error:
        raise ApiError(f"--ca-file: {ca_file}: cannot be read: {error.strerror or error}") from None

"""The Secrets of a balancer: token keys and the token of its state, made once, never read back, never overwritten.

They belong to nobody (no ownerReferences): dialogs that are up outlive the ConfigMap, and would be cut with the keys.
"""

from __future__ import annotations

import base64
import json
import secrets
from typing import Any

from switchtender_api.constants import LABEL_BALANCER

KEY_BYTES = 64
"""AES-SIV with two 256-bit halves (RFC 5297)."""

MANAGED_BY = {"app.kubernetes.io/managed-by": "switchtender-operator"}


def keys_name(config_map: str) -> str:
    """Return the name of the Secret with the keys of Record-Route tokens."""
    return f"{config_map}-keys"


def token_name(config_map: str) -> str:
    """Return the name of the Secret with the bearer token of `/api/v1/state`."""
    return f"{config_map}-token"


def keys_secret(namespace: str, config_map: str, balancer: str) -> dict[str, Any]:
    """Return a Secret with one fresh key, in the format of a balancer's keys.json."""
    key = {"id": 1 + secrets.randbelow(255), "secret": base64.b64encode(secrets.token_bytes(KEY_BYTES)).decode()}
    return _secret(namespace, keys_name(config_map), balancer, {"keys.json": json.dumps({"format": 1, "keys": [key]})})


def token_secret(namespace: str, config_map: str, balancer: str) -> dict[str, Any]:
    """Return a Secret with a fresh bearer token of 48 random bytes."""
    return _secret(namespace, token_name(config_map), balancer, {"token": secrets.token_urlsafe(48)})


def _secret(namespace: str, name: str, balancer: str, data: dict[str, str]) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": name, "namespace": namespace, "labels": {**MANAGED_BY, LABEL_BALANCER: balancer}},
        "type": "Opaque",
        "data": {key: base64.b64encode(text.encode()).decode() for key, text in data.items()},
    }

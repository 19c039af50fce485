"""The HTTP interface of a balancer: where it listens, its certificate, and who may use its admin verbs.

Knows no route, and reads no file.
"""

from __future__ import annotations

import ipaddress
from typing import Annotated, Self

from pydantic import Field, model_validator

from switchtender_api.problems import Refusal
from switchtender_api.v1alpha1.base import Model
from switchtender_api.v1alpha1.units import Address, BindPort, Boolean, EnvironmentVariable, Text

_PATH = Text(r"^/[^\x00]*$", "an absolute path", 4096)


class TokenFrom(Model):
    """Where a token comes from: exactly one of the fields is set."""

    env: EnvironmentVariable | None = Field(None, description="Environment variable that holds the token.")
    file: Annotated[str, _PATH] | None = Field(
        None,
        description="File that holds the token, white space around it ignored; read again when it changes.",
    )

    @model_validator(mode="after")
    def _exactly_one(self) -> Self:
        if (self.env is None) == (self.file is None):
            raise Refusal("one source of the token, no more and no less", accepted="exactly one of env, file")
        return self


class HttpAdmin(Model):
    """Who may use the admin verbs: orders to nodes, and traces of calls."""

    token_from: TokenFrom | None = Field(
        None,
        description="Bearer token of the admin verbs. Omitted: one made at the first start, in stateDir/admin-token. "
        "Not in Kubernetes.",
    )
    token_review: Boolean = Field(
        default=False,
        description="Have the API server say who a bearer token belongs to, and whether they may trace calls; only in "
        "Kubernetes, where the balancer must be allowed to ask (balancer.http.admin.tokenReview of the chart).",
    )


class HttpTls(Model):
    """The certificate of the HTTP interface. Files that change are taken up without a restart."""

    certificate_file: Annotated[str, _PATH] = Field(description="Certificate with its chain, in PEM.")
    key_file: Annotated[str, _PATH] = Field(
        description="Private key of the certificate, in PEM, without a pass phrase."
    )
    ca_file: Annotated[str, _PATH] | None = Field(
        None,
        description="Certificates that vouch for the peers, in PEM; those of the system if omitted.",
    )


class Http(Model):
    """Where metrics, health and the API are served."""

    address: Address = Field(ipaddress.IPv4Address("127.0.0.1"), description="Address to bind.")
    port: BindPort = Field(8080, description="Port to bind, over TCP.")
    admin: HttpAdmin = Field(HttpAdmin(), description="Who may use the admin verbs.")
    tls: HttpTls | None = Field(
        None,
        description="Serve https, and ask peers over https; plain http if omitted. Not in Kubernetes, where probes, "
        "metrics and the operator ask over http.",
    )


__all__ = ["Http", "HttpAdmin", "HttpTls", "TokenFrom"]

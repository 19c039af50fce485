"""Copies of SIP messages for a Homer server: where a balancer sends them. Opens no socket and reads no file."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import Field, model_validator

from switchtender_api.problems import Refusal
from switchtender_api.v1alpha1.base import Model
from switchtender_api.v1alpha1.units import Address, EnvironmentVariable, Port, Text, Whole

DEFAULT_PORT = 9060
"""Where Homer's collectors take HEP over UDP."""

_PATH = Text(r"^/[^\x00]*$", "an absolute path", 4096)


class HepCollector(Model):
    """The collector that takes the copies, over UDP."""

    host: Address = Field(description="Address of the collector; no name, since nothing is looked up per message.")
    port: Port = Field(DEFAULT_PORT, description="UDP port of the collector.")

    @model_validator(mode="after")
    def _reachable(self) -> Self:
        if self.host.is_unspecified:
            raise Refusal("nobody can be reached there", accepted="the address of a collector, such as 192.0.2.10")
        return self


class HepPasswordFrom(Model):
    """Where the password for the collector comes from: exactly one of the fields is set."""

    env: EnvironmentVariable | None = Field(None, description="Environment variable that holds the password.")
    file: Annotated[str, _PATH] | None = Field(
        None, description="File that holds the password, one trailing newline ignored; read at the start."
    )

    @model_validator(mode="after")
    def _exactly_one(self) -> Self:
        if (self.env is None) == (self.file is None):
            raise Refusal("one source of the password, no more and no less", accepted="exactly one of env, file")
        return self


class Hep(Model):
    """Whole SIP messages, copied as HEP version 3. What the collector does not take is lost; no call waits for it."""

    collector: HepCollector = Field(description="Where the copies go.")
    capture_id: Annotated[int, Whole(0, 4_294_967_295)] = Field(
        1, description="Number by which the collector tells this balancer from others that send to it."
    )
    password_from: HepPasswordFrom | None = Field(
        None, description="Password that the collector asks for (its authentication key). It travels in clear."
    )


__all__ = ["DEFAULT_PORT", "Hep", "HepCollector", "HepPasswordFrom"]

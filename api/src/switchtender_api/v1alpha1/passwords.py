"""Where an Event Socket password comes from, when it does not stand in the document.

The model names the place; `resolve` reads it through what the caller hands in. Knows no group and opens nothing itself.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Annotated, Self

from pydantic import ConfigDict, Field, SecretStr, model_validator

from switchtender_api.problems import Finding, Path, Refusal
from switchtender_api.v1alpha1.base import Model
from switchtender_api.v1alpha1.cel import cel, cel_text, rules
from switchtender_api.v1alpha1.endpoints import parse_password
from switchtender_api.v1alpha1.units import EnvironmentVariable, Text

ReadFile = Callable[[str], str]
"""Returns the text of the file at a path, or raises OSError or UnicodeDecodeError."""

_ONE_OF = "exactly one of env, file, secretKeyRef"


_SECRET_NAME = Text(
    r"^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$", "a Secret's name: lower-case letters, digits, dashes and dots", secret=True
)
_SECRET_KEY = Text(r"^[A-Za-z0-9._-]+$", "a Secret's key: letters, digits, dots, dashes, underscores", secret=True)
_FILE = Text(r"^[^\x00]+$", "the path of a file", 4096, secret=True)


class SecretKeyRef(Model):
    """One key of a Kubernetes Secret in the group's namespace."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            cel(f"self.name.matches({cel_text(_SECRET_NAME.pattern)})", _SECRET_NAME.accepted, "name"),
            cel(f"!has(self.key) || self.key.matches({cel_text(_SECRET_KEY.pattern)})", _SECRET_KEY.accepted, "key"),
        )
    )

    name: Annotated[str, _SECRET_NAME] = Field(description="Name of the Secret.")
    key: Annotated[str, _SECRET_KEY] = Field("password", description="Key within the Secret.")


class PasswordFrom(Model):
    """Where a password comes from: exactly one of the fields is set; in Kubernetes it is secretKeyRef."""

    model_config = ConfigDict(
        json_schema_extra=cel(
            "has(self.secretKeyRef) && !has(self.env) && !has(self.file)",
            "in Kubernetes a password comes from a Secret only: secretKeyRef, and neither env nor file",
        )
    )

    env: EnvironmentVariable | None = Field(
        None, description="Environment variable that holds the password; only where the document is a file."
    )
    file: Annotated[str, _FILE] | None = Field(
        None,
        description="File that holds the password, one trailing newline ignored; only where the document is a file.",
    )
    secret_key_ref: SecretKeyRef | None = Field(None, description="Secret that holds the password; only in Kubernetes.")

    @model_validator(mode="after")
    def _exactly_one(self) -> Self:
        if sum(source is not None for source in (self.env, self.file, self.secret_key_ref)) != 1:
            raise Refusal("one source of the password, no more and no less", accepted=_ONE_OF)
        return self


def resolve(
    source: PasswordFrom, *, environ: Mapping[str, str], read_file: ReadFile, path: Path
) -> SecretStr | Finding:
    """Return the password that `source` names, or what keeps it from being read.

    `path` is where `source` stands in its document; the Finding extends it. No text made here holds the password.
    """
    if source.env is not None:
        return _from_env(source.env, environ, (*path, "env"))
    if source.file is not None:
        return _from_file(source.file, read_file, (*path, "file"))
    return Finding((*path, "secretKeyRef"), "a Secret is read in Kubernetes only", accepted="env or file")


def _from_env(name: str, environ: Mapping[str, str], path: Path) -> SecretStr | Finding:
    text = environ.get(name)
    if text is None:
        return Finding(path, f"the environment variable {name} is not set", accepted="a variable that is set")
    return _checked(text, f"the environment variable {name}", path)


def _from_file(file: str, read_file: ReadFile, path: Path) -> SecretStr | Finding:
    try:
        text = read_file(file)
    except OSError as error:
        return Finding(
            path, f"cannot read {file}: {error.strerror or type(error).__name__}", accepted="a readable file"
        )
    except UnicodeDecodeError:
        return Finding(path, f"{file} is not UTF-8", accepted="a file of text")
    return _checked(text.removesuffix("\n").removesuffix("\r"), f"the file {file}", path)


def _checked(text: str, place: str, path: Path) -> SecretStr | Finding:
    try:
        return parse_password(text)
    except Refusal as refusal:
        return Finding(path, f"{place}: {refusal.message}", accepted="a password of one line, not empty")

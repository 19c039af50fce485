"""Where a resource lives on the API server. Knows paths, not what lies behind them."""

from dataclasses import dataclass
from typing import Any, TypeAlias
from urllib.parse import quote

Json: TypeAlias = dict[str, Any]
"""An object as ``json.loads`` gives it."""


@dataclass(frozen=True, slots=True)
class Resource:
    """A resource type: ``group`` "" is the core group; ``plural`` as it stands in paths."""

    group: str
    version: str
    plural: str
    namespaced: bool = True

    @property
    def api_version(self) -> str:
        """``apiVersion`` of its objects."""
        return f"{self.group}/{self.version}" if self.group else self.version

    def path(self, namespace: str | None = None, name: str | None = None, subresource: str | None = None) -> str:
        """The path of the collection (all namespaces if ``namespace`` is None), of an object, or of its subresource.

        Raises ``ValueError`` for an object of a namespaced resource without its namespace: such a path leads elsewhere.
        """
        if name is not None and self.namespaced and namespace is None:
            raise ValueError(f"{self.plural}/{name}: its namespace is missing")
        if subresource is not None and name is None:
            raise ValueError(f"{self.plural}: a subresource needs a name")
        parts = ["apis", self.group, self.version] if self.group else ["api", self.version]
        if namespace is not None and self.namespaced:
            parts += ["namespaces", namespace]
        parts += [self.plural, *(part for part in (name, subresource) if part is not None)]
        return "/" + "/".join(quote(part, safe="") for part in parts)

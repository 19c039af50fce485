"""Writes what is generated: JSON schemas for editors, custom resources, the reference pages, the live page's words for
reasons, the chart's README and schema of values, rules for Prometheus and dashboards for Grafana.

``--check`` writes nothing and fails when a file is stale (``make verify``). ``--release`` marks the schemas of the
custom resources as released, from when on a change of them needs a new revision.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from pathlib import Path

from switchtender_api import crd
from switchtender_api.constants import CRD_REVISION
from switchtender_api.schema import KINDS, json_schema
from tools import chart_reference
from tools.generate import commands, events, metrics, pages, revisions
from tools.monitoring import dashboards, rules

ROOT = Path(__file__).parent.parent.parent
REFERENCE = ROOT / "docs" / "reference"
PAGE = ROOT / "balancer" / "python" / "switchtender" / "http" / "page"
CRDS = ROOT / "deploy" / "crds"
REVISIONS = ROOT / "api" / "crd_revisions.json"


def main() -> int:
    """Generate or check; the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="fail when a generated file is stale, write nothing")
    parser.add_argument("--release", action="store_true", help="mark the revision of the custom resources as released")
    arguments = parser.parse_args()
    try:
        wanted = list(generated(release=arguments.release))
    except revisions.RevisionError as error:
        sys.stderr.write(f"{REVISIONS.relative_to(ROOT)}: {error}\n")
        return 1
    stale = [(path, text) for path, text in wanted if not path.exists() or path.read_text() != text]
    for path, text in stale:
        if arguments.check:
            sys.stderr.write(f"stale: {path.relative_to(ROOT)}; run: make generate\n")
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
    return 1 if arguments.check and stale else 0


def generated(*, release: bool = False) -> Iterator[tuple[Path, str]]:
    """Every generated file with its text. Raises RevisionError."""
    definitions = [crd.custom_resource(kind) for kind in crd.KINDS]
    recorded = REVISIONS.read_text() if REVISIONS.exists() else ""
    yield REVISIONS, revisions.updated(recorded, CRD_REVISION, definitions, release=release)
    for definition in definitions:
        yield CRDS / f"{definition['metadata']['name']}.yaml", pages.definition(definition)
    for kind in KINDS:
        yield REFERENCE / "schemas" / f"{kind}.json", json.dumps(json_schema(kind), indent=2, ensure_ascii=False) + "\n"
    yield REFERENCE / "states.md", pages.states()
    yield PAGE / "reasons.js", pages.page_reasons()
    yield REFERENCE / "configuration.md", pages.configuration()
    yield REFERENCE / "api.md", pages.api()
    yield REFERENCE / "conditions.md", pages.conditions()
    yield REFERENCE / "events.md", events.page()
    yield REFERENCE / "metrics.md", metrics.page()
    yield REFERENCE / "commands.md", commands.page()
    yield from chart_reference.generated()
    yield from rules.generated()
    yield from dashboards.generated()


if __name__ == "__main__":
    sys.exit(main())

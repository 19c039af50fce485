"""`make bench-scaling`: simulate, measure documents, write docs/scaling.json and the page.

Exit status 1 when, with --check, the page is not what its file makes.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from tests.scaling.documents import sizes
from tests.scaling.figures import measured
from tests.scaling.plays import played
from tests.scaling.report import page


def main() -> int:
    """Make results and page, or compare them."""
    parser = argparse.ArgumentParser(prog="python -m tests.scaling", description=__doc__)
    parser.add_argument("--page", type=Path, required=True, help="the page; its results are in the .json beside it")
    parser.add_argument("--performance", type=Path, default=Path("docs/performance.json"), help="measured figures")
    parser.add_argument("--quick", action="store_true", help="few pools, one seed: to see that it runs")
    parser.add_argument("--jobs", type=int, default=1, help="simulations at a time (default 1)")
    parser.add_argument("--derive", action="store_true", help="keep the simulation: only sizes and measured figures")
    parser.add_argument("--check", action="store_true", help="write nothing; fail when page and results differ")
    options = parser.parse_args()
    file = options.page.with_suffix(".json")
    if options.check:
        if options.page.read_text(encoding="utf-8") != page(json.loads(file.read_text(encoding="utf-8"))):
            print(f"{options.page} is not what {file} makes: make bench-scaling", file=sys.stderr)
            return 1
        return 0
    simulation = (
        json.loads(file.read_text(encoding="utf-8"))["simulation"]
        if options.derive
        else played(quick=options.quick, jobs=options.jobs)
    )
    known = json.loads(options.performance.read_text(encoding="utf-8")) if options.performance.exists() else {}
    results = {"sizes": sizes(), "measured": measured(known), "simulation": simulation}
    rows = ",\n".join("  " + json.dumps(row) for row in simulation)
    head = json.dumps({name: results[name] for name in ("sizes", "measured")}, indent=1)[:-2]
    file.write_text(f'{head},\n "simulation": [\n{rows}\n ]\n}}\n', encoding="utf-8")
    options.page.write_text(page(results), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())

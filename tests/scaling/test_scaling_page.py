"""The page and its file agree, sizes are those of today, and the arithmetic is right where it can be done by hand."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.scaling.__main__ import main
from tests.scaling.documents import sizes
from tests.scaling.figures import fleet, measured

DOCS = Path(__file__).parents[2] / "docs"
SIZES = {
    "heartbeat_bytes": 1000,
    "poll_bytes": 400,
    "poll_seconds": 2.0,
    "checks_bytes": 300,
    "checks": 3,
    "checks_seconds": 3.0,
    "state_bytes_a_node": 300,
    "slice_bytes": 50_000,
}


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr("sys.argv", ["scaling", *arguments])
    return main()


def test_the_page_is_what_its_file_makes(monkeypatch: pytest.MonkeyPatch) -> None:
    assert run(monkeypatch, "--page", str(DOCS / "scaling.md"), "--check") == 0


def test_a_page_of_other_figures_is_found(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    page = tmp_path / "scaling.md"
    results = json.loads((DOCS / "scaling.json").read_text())
    results["simulation"][0]["lost"] += 0.5
    page.write_text((DOCS / "scaling.md").read_text())
    page.with_suffix(".json").write_text(json.dumps(results))
    assert run(monkeypatch, "--page", str(page), "--check") == 1


def test_measured_figures_are_taken_up_without_another_simulation(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    page, performance = tmp_path / "scaling.md", tmp_path / "performance.json"
    page.with_suffix(".json").write_text((DOCS / "scaling.json").read_text())
    performance.write_text(
        json.dumps({"compare": {"runs": {"least-load": [{"cpu": 36.0}, {"cpu": 90.0}, {"cpu": 9.0}]}}})
    )
    assert run(monkeypatch, "--page", str(page), "--derive", "--performance", str(performance)) == 0
    assert "36 µs a call, 0.20 cores" in page.read_text()
    assert run(monkeypatch, "--page", str(page), "--check") == 0


def test_sizes_in_the_file_are_those_of_the_code() -> None:
    """Within a tenth: a field more in a document is no other derivation."""
    written = json.loads((DOCS / "scaling.json").read_text())["sizes"]
    assert written == pytest.approx(sizes(), rel=0.1)


def test_what_is_not_measured_is_left_out() -> None:
    assert measured({}) == {}
    assert measured({"compare": {"runs": {"kamailio-stateful": [{"cpu": 50.0}]}}}) == {"kamailio_us": 50.0}


def test_a_fleet_by_hand() -> None:
    found = fleet(10, 1000, SIZES)
    assert found.connections == 10_000
    assert found.commands_a_node == pytest.approx(10 * 1.5)
    assert found.esl_a_balancer == pytest.approx(1000 * (1000 + 200 + 100))
    assert found.state_of_all == pytest.approx(3_000_000)
    assert found.writes_asked == pytest.approx(10)
    assert found.watch_of_all == pytest.approx(10 * 50_000 * 10)
    assert fleet(10, 10_000, SIZES).watch_of_all == pytest.approx(20 * 50_000 * 10)

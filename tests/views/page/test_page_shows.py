"""What the live page shows is what the API says, as it happens, and reasons stand beside states."""

from decimal import ROUND_HALF_UP, Decimal

from tests.stand.process import StandError, ask, until
from tests.views.page.conftest import LAYOUT
from tests.views.page.tab import TABLE

LAST_VIEW = """(() => {
    const Source = window.EventSource;
    window.EventSource = class extends Source {
        addEventListener(name, heard) {
            super.addEventListener(name, message => {
                if (name === 'view') window.lastView = JSON.parse(message.data);
                heard(message);
            });
        }
    };
})()"""
"""Keeps the view that the page got last, to be compared with what it made of it."""

MOMENT = f"""() => [
    window.lastView,
    ...['nodes-table', 'groups-table'].map(id => ({TABLE})(document.querySelector(`#${{id}} table`))),
    ['calls-per-second', 'dialogs', 'transactions'].map(id => document.getElementById(id).textContent),
]"""
"""That view, the tables and the figures of the header, at one moment."""


def rounded(value, places):
    return Decimal(repr(value)).quantize(Decimal(1).scaleb(-places), ROUND_HALF_UP)


def amount(value):
    if value is None:
        return "–"
    text = f"{rounded(value, 1 if abs(value) < 100 else 0):,}"
    return text.removesuffix(".0").replace("-0", "0") if "." in text else text


def percent(part):
    whole = int(rounded(100 * part, 0))
    return f"{whole if part >= 1 else min(99, whole)} %"


def load(item):
    part = percent(item["utilization"]) if item["capacity"] > 0 else "–"
    reported = "none reported" if item["sessions"] is None else f"{amount(item['sessions'])} reported"
    return [part, f"{amount(item['effective'])} of {amount(item['capacity'])} · {reported}"]


def probe(node):
    found = node["probe"]
    if found is None:
        return ["–", "not probed"]
    if not found["answered"]:
        return ["no answer", f"{found['failures']} in a row"]
    # Tenths of any length: the round trip of a busy machine is past 100 ms.
    return [str(found["status"]), f"{rounded(1000 * found['roundTrip'], 1):,}".removesuffix(".0") + " ms"]


def node_cells(node):
    """What of a node stands still between two reads that are one moment apart; what ages is looked at by its kind."""
    share = "no calls" if node["callShare"] is None else f"{percent(node['callShare'])} of calls"
    limit = node["sessionsPerSecondLimit"]
    return {
        "name": [node["node"], f"{node['namespace']}/{node['group']}"],
        "state": [node["state"], node["reason"]],
        "load": load(node),
        "calls": [amount(node["callsPerSecond"]), share],
        "rate": [amount(node["sessionRate"]), "no limit" if limit is None else f"limit {amount(limit)}"],
        "probe": probe(node),
        "weight": [amount(node["weight"]), f"priority {node['priority']}"],
    }


def shown_cells(cells):
    name, state, load_cell, calls, rate, _, options, weight, *_ = cells
    badge, since, reason = state[:3]
    assert since.startswith("for ")
    return {
        "name": name,
        "state": [badge, reason],
        "load": load_cell,
        "calls": calls,
        "rate": rate,
        "probe": options,
        "weight": weight,
    }


def causes(totals):
    named = sorted(((total, cause) for cause, total in totals.items() if total), key=lambda entry: -entry[0])
    return ", ".join(f"{cause} {total:,}" for total, cause in named) or "none so far"


def group_cells(group):
    states = [f"{group['states'][s]} {s}" for s in ("down", "stale", "unknown", "full", "draining", "ready")]
    return [
        [f"{group['namespace']}/{group['group']}", group["algorithm"]],
        load(group),
        [
            *(state for state in states if not state.startswith("0 ")),
            f"{group['eligible']} of {group['nodes']} eligible",
        ],
        [amount(group["callsPerSecond"]), f"{group['assigned']:,} placed"],
        [amount(group["rejectedPerSecond"]), causes(group["rejected"])],
        [f"{sum(group['failovers'].values()):,}", causes(group["failovers"])],
    ]


def key(item):
    return f"{item['namespace']}/{item['group']}"


def compared(page, nodes, groups):
    """What is shown and what is expected, by key."""
    shown = {name: shown_cells(cells) for name, cells in page.rows("nodes-table").items()}
    expected = {f"{key(node)}/{node['uid']}": node_cells(node) for node in nodes}
    return (shown, page.rows("groups-table")), (expected, {key(group): group_cells(group) for group in groups})


def test_the_tables_equal_the_api(open_page):
    """While no calls come, a read of the API and a look at the page are of one moment, or soon are."""
    page = open_page
    seen = {}

    def alike():
        nodes, groups = (ask(f"{LAYOUT.url}/api/v1/{name}")[name] for name in ("nodes", "groups"))
        for node in nodes:
            node["probe"] = node["probe"] and node["probe"] | {"roundTrip": 0}
        shown, expected = compared(page, nodes, groups)
        for cells in shown[0].values():
            cells["probe"][1] = "0 ms" if cells["probe"][1].endswith(" ms") else cells["probe"][1]
        seen.update(shown=shown, expected=expected)
        return shown == expected

    try:
        until(alike, "a page like the API", 8)
    except StandError:
        assert seen["shown"] == seen["expected"]
    assert page.tab.locator("#balancer").inner_text() == "default"
    assert page.tab.locator("#version").inner_text() == ask(f"{LAYOUT.url}/api/v1/balancer")["version"]


def test_with_calls_every_cell_is_what_the_last_view_says(page, stand):
    page.tab.add_init_script(LAST_VIEW)
    with stand.calls():
        page.open()
        page.until("() => window.lastView.process.callsPerSecond > 5 && window.lastView.process.dialogs > 5")
        for _ in range(2):
            view, nodes, groups, figures = page.tab.evaluate(MOMENT)
            process = view["process"]
            expected = [process["callsPerSecond"], process["dialogs"], process["transactionsOpen"]]
            assert figures == [amount(expected[0]), *(f"{number:,}" for number in expected[1:])]
            shown = {row["key"]: shown_cells(row["cells"]) for row in nodes}
            assert shown == {f"{key(node)}/{node['uid']}": node_cells(node) for node in view["nodes"]}
            shown = {row["key"]: row["cells"] for row in groups}
            assert shown == {key(group): group_cells(group) for group in view["groups"]}
            page.until("time => window.lastView.time > time", view["time"])


def test_a_killed_node_says_so_and_why_and_comes_back(page, stand):
    page.open()
    assert page.state("fs-large") == ("ready", "Reporting")
    before = int(page.tab.title().partition(")")[0].removeprefix("("))
    stand.nodes.do("fs-large", "crash")
    try:
        page.until(
            """() => [...document.querySelectorAll('#nodes-table tbody tr')].some(row =>
                row.textContent.includes('fs-large') && /down.*ConnectionRefused/.test(row.textContent))"""
        )
        known = stand.balancer.nodes()["fs-large"]
        assert page.state("fs-large") == (known["state"], known["reason"]) == ("down", "ConnectionRefused")
        row = page.row("fs-large")
        assert "cannot be reached" in row.locator(".because").first.inner_text()
        assert page.tab.title().startswith(f"({before + 1}) ")
        alarm = page.tab.locator("#alarms-list li", has_text="down")
        assert "fs-large" in alarm.inner_text()
        assert "ConnectionRefused" in alarm.inner_text()
        event = page.tab.locator("#events-list li", has_text="fs-large").first
        assert "ConnectionRefused" in event.inner_text()
        first = page.tab.locator("#nodes-table tbody tr").first
        assert first.locator(".badge").inner_text().strip() == "down", "problems come first"
    finally:
        stand.nodes.do("fs-large", "start?wait=1")
    page.until(
        """() => [...document.querySelectorAll('#nodes-table tbody tr')].some(row =>
            row.textContent.includes('fs-large') && row.textContent.includes('Reporting'))"""
    )
    page.until("count => document.title.startsWith(`(${count}) `)", before)


def test_each_reason_stands_in_words_beside_its_state(open_page):
    page = open_page
    expected = {
        "fs-busy": ("full", "NoRoom", "leave no room"),
        "fs-locked": ("down", "AuthenticationFailed", "refuses the Event Socket password"),
        "fs-paused": ("draining", "Paused", "paused on the node"),
    }
    for name, (state, reason, words) in expected.items():
        assert page.state(name) == (state, reason)
        assert words in page.row(name).locator(".because").first.inner_text()
    assert "login refused" in page.row("fs-locked").inner_text()
    alarms = page.tab.locator("#alarms-list").inner_text()
    assert "default/gateways: no eligible node of 1" in alarms
    assert "2 nodes down" in alarms
    assert "fs-paused" not in alarms, "draining is nobody's alarm"


def test_calls_that_are_turned_away_raise_an_alarm(page, stand):
    page.open()
    with stand.calls(rate=5, scenario="call-or-refused", service="0012"):
        alarm = page.tab.locator("#alarms-list li", has_text="turned away")
        alarm.wait_for()
        assert "default/gateways" in alarm.inner_text()
        alarm.locator("button").click()
    assert list(page.rows("nodes-table")) == [f"default/gateways/{stand.balancer.nodes()['gw-1']['uid']}"], (
        "an alarm leads to the nodes that it is about"
    )
    assert page.tab.locator("#filter-group").input_value() == "default/gateways"
    rejected = stand.balancer.groups()["gateways"]["rejected"]
    page.until("cause => document.querySelector('#groups-table').textContent.includes(cause)", next(iter(rejected)))


def test_filters_and_sorting_choose_and_order_what_is_shown(open_page, stand):
    page = open_page
    tab = page.tab
    states = stand.balancer.states()
    tab.get_by_role("button", name="down").last.click()
    names = [cells[0][0] for cells in page.rows("nodes-table").values()]
    assert sorted(names) == sorted(name for name, state in states.items() if state == "down")
    assert tab.locator("#nodes-count").inner_text() == f"{len(names)} of {len(states)}"
    tab.get_by_role("button", name="Show all").click()
    tab.get_by_role("searchbox", name="Name, address or reason").fill("127.0.13.7")
    assert [cells[0][0] for cells in page.rows("nodes-table").values()] == ["conf-a"]
    tab.get_by_role("searchbox", name="Name, address or reason").fill("no such thing")
    assert tab.locator("#nodes-table .none").inner_text() == f"None of {len(states)} nodes is like that."
    tab.get_by_role("button", name="Show all").click()
    head = tab.locator("#nodes-table").get_by_role("columnheader", name="Node")
    head.get_by_role("button").click()
    assert head.get_attribute("aria-sort") == "ascending"
    assert [cells[0][0] for cells in page.rows("nodes-table").values()] == sorted(states)
    head.get_by_role("button").click()
    assert head.get_attribute("aria-sort") == "descending"
    assert [cells[0][0] for cells in page.rows("nodes-table").values()] == sorted(states, reverse=True)


def test_rows_are_changed_in_place_and_stay_where_somebody_points(page):
    page.tab.add_init_script(LAST_VIEW)
    page.open()
    page.tab.evaluate("document.querySelectorAll('#nodes-table tbody tr').forEach(row => (row.kept = true))")
    page.tab.locator("#nodes-table tbody tr").last.hover()
    order = list(page.rows("nodes-table"))
    page.tab.evaluate("document.querySelector('#nodes-table .column-name button').click()")
    page.tab.evaluate("document.querySelector('#nodes-table .column-load button').click()")
    chosen = list(page.rows("nodes-table"))
    assert chosen != order, "whoever sorts wants another order at once"
    time = page.tab.evaluate("window.lastView.time")
    page.until("time => window.lastView.time > time", time)
    assert page.tab.evaluate("[...document.querySelectorAll('#nodes-table tbody tr')].every(row => row.kept)")
    assert list(page.rows("nodes-table")) == chosen


def test_all_that_is_known_of_a_node_is_one_press_away(open_page, stand):
    page = open_page
    page.tab.get_by_role("button", name="fs-locked", exact=True).click()
    sheet = page.tab.get_by_role("dialog", name="fs-locked")
    sheet.wait_for()
    known = stand.balancer.nodes()["fs-locked"]
    facts = dict(
        sheet.locator(".facts > div").evaluate_all("rows => rows.map(row => [...row.children].map(c => c.textContent))")
    )
    assert facts["SIP"] == f"{known['sip']} over {known['transport']}"
    assert facts["Event Socket"] == known["esl"]
    assert facts["Event Socket errors"].startswith("auth_failed ")
    assert facts["Last report"] == "never"
    assert facts["Verdict"].startswith(f"{known['verdict']}: it ")
    page.tab.keyboard.press("Escape")
    sheet.wait_for(state="hidden")
    page.tab.get_by_role("button", name="fs-locked", exact=True).click()
    sheet.get_by_role("button", name="Its events").click()
    assert page.tab.locator("#events-filter").input_value() == "fs-locked"
    lines = page.tab.locator("#events-list li").all_inner_texts()
    assert lines
    assert all("fs-locked" in line for line in lines)
    page.tab.locator("#events-filter").fill("")


def test_events_are_those_of_the_journal_newest_first(open_page):
    page = open_page
    shown = page.tab.locator("#events-list li")
    shown.first.wait_for()
    newest = ask(f"{LAYOUT.url}/api/v1/events")["events"][-100:][::-1]
    ids = [int(number) for number in shown.evaluate_all("lines => lines.map(line => line.dataset.id)")]
    assert ids == [event["id"] for event in newest]
    first = shown.first.inner_text()
    assert newest[0]["message"] in first
    assert newest[0]["reason"] in first


STANDINGS = """() => {
    const connection = document.getElementById('connection');
    window.standings = [];
    new MutationObserver(() => window.standings.push([
        connection.dataset.state, connection.textContent, !document.getElementById('old').hidden,
    ])).observe(connection, { attributes: true });
}"""
"""Notes how the connection stands each time that it changes: the next view may come at any moment."""


def test_a_view_that_does_not_come_makes_what_stands_old(page):
    page.tab.clock.install()
    page.open()
    assert page.tab.locator("#old").is_hidden()
    page.tab.evaluate(STANDINGS)
    page.tab.clock.fast_forward(6000)
    page.until("() => window.standings.length >= 2")
    (silent, words, old), (live, _, still_old) = page.tab.evaluate("() => window.standings.slice(0, 2)")
    assert (silent, old) == ("silent", True)
    assert words.startswith("No word from the balancer since ")
    assert (live, still_old) == ("live", False)

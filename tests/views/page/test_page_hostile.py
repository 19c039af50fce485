"""What comes from the API is text: a name that is markup does nothing. And thousands of nodes are no trouble."""

from tests.views.page.tab import fed
from tests.views.page.test_page_orders import whole_view

MARKUP = '<img src=x onerror="window.pwned = true">'
KEPT = {"state", "orders", "severity", "verdict"}
"""Words of a closed list, by which the page chooses what to show; each is hostile in turn below."""


def hostile(value, name=""):
    """The value with every text in it made markup."""
    if isinstance(value, dict):
        return {key: hostile(entry, key) for key, entry in value.items()}
    if isinstance(value, list):
        return [hostile(entry, name) for entry in value]
    if isinstance(value, str) and name not in KEPT:
        return f"{MARKUP}{value}"
    return value


EVENT = {
    "id": 7, "time": 1_800_000_000.0, "since": 1_800_000_000.0, "type": "NodeState", "severity": "error",
    "namespace": "n", "group": "g", "node": "a", "reason": "b", "message": "c", "count": 3, "details": {},
}  # fmt: skip


MANY = """view => {
    const [node] = view.nodes;
    view.nodes = [...Array(2000).keys()].map(number => ({ ...node, node: `fs${number}`, uid: `u${number}` }));
    Object.assign(view.nodes[1990], { state: 'stale', reason: 'ReportsOverdue', eligible: false });
    window.many = view;
    window.feed('view', view);
}"""
CHANGES = """async () => {
    const view = window.many;
    document.querySelectorAll('#nodes-table tbody tr')[17].scrollIntoView({ behavior: 'instant' });
    await new Promise(painted => requestAnimationFrame(() => setTimeout(painted, 50)));
    const watching = new MutationObserver(() => {});
    const kinds = { childList: true, subtree: true, characterData: true, attributes: true };
    watching.observe(document.querySelector('#nodes-table tbody'), kinds);
    view.nodes[16].callsPerSecond += 5;
    window.feed('view', view);
    return watching.takeRecords().length;
}"""
"""How many changes the table of nodes goes through for one number that changed."""


def test_markup_in_every_text_stays_text(page):
    view = hostile(whole_view())
    for node, field in zip(view["nodes"], ("state", "verdict", "state"), strict=False):
        node[field] = MARKUP
    fed(page, view, [hostile(EVENT)])
    tab = page.tab
    assert MARKUP in tab.locator("#balancer").inner_text()
    assert MARKUP in tab.locator("#events-list").inner_text()
    assert MARKUP in tab.locator("#groups-table").inner_text()
    tab.locator("#nodes-table tbody .link").first.click()
    assert MARKUP in tab.locator("#sheet").inner_text()
    tab.keyboard.press("Escape")
    assert tab.evaluate("document.querySelectorAll('img').length") == 1, "the page's own mark"
    assert tab.evaluate("window.pwned") is None


def test_thousands_of_nodes_are_shown_a_few_at_a_time(page):
    view = whole_view()
    view["nodes"] = [node for node in view["nodes"] if node["node"] == "fs-large"]
    fed(page, view)
    page.tab.evaluate(MANY, view)
    rows, more = page.tab.locator("#nodes-table tbody tr"), page.tab.locator("#nodes-table .more")
    assert rows.count() == 50
    assert page.state("fs1990") == ("stale", "ReportsOverdue"), "a problem comes first, wherever it was"
    assert rows.nth(1).locator(".link").inner_text() == "fs0"
    assert more.inner_text() == "Show all 2,000 nodes"
    more.click()
    assert rows.count() == 2000
    assert page.tab.evaluate(CHANGES) == 1, "one number changed, one text is written"
    assert more.inner_text() == "Show the first 50 nodes only"
    more.evaluate("button => button.click()")
    assert rows.count() == 50


def test_of_many_alarms_the_first_are_told_and_all_are_counted(page):
    view = whole_view()
    group = {**view["groups"][0], "eligible": 0}
    view["groups"] = [{**group, "group": f"g{number}"} for number in range(40)]
    view["nodes"] = []
    fed(page, view)
    assert page.tab.title() == "(40) default · Switchtender"
    assert page.tab.locator("#alarms-list li").count() == 12
    assert page.tab.locator("#alarms-more").inner_text() == "and 28 more"
    assert page.tab.locator("#groups-table tbody tr").count() == 20
    assert page.tab.locator("#nodes-table .none").inner_text() == "No node is known yet."

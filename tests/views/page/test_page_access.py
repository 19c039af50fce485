"""The live page for everybody: by keyboard alone, by screen reader, on a phone, in light and in dark."""

import os
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
SCREENSHOTS = ROOT / "build" / "screenshots"
WINDOWS = {
    "desktop": {"width": 1440, "height": 900},
    "laptop": {"width": 1280, "height": 720},
    "tablet": {"width": 820, "height": 1180},
    "phone": {"width": 360, "height": 740},
}

CONTRAST = """() => {
    const canvas = new OffscreenCanvas(1, 1).getContext('2d', { willReadFrequently: true });
    const rgba = color => {
        canvas.clearRect(0, 0, 1, 1);
        canvas.fillStyle = color;
        canvas.fillRect(0, 0, 1, 1);
        const [r, g, b, a] = canvas.getImageData(0, 0, 1, 1).data;
        return [r, g, b, a / 255];
    };
    const over = (top, below) => [0, 1, 2].map(i => top[i] * top[3] + below[i] * (1 - top[3])).concat(1);
    const ground = element => {
        const color = rgba(getComputedStyle(element).backgroundColor);
        if (color[3] === 1 || element.parentElement === null) return color;
        return over(color, ground(element.parentElement));
    };
    const luminance = color => {
        const linear = c => (c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4);
        const [r, g, b] = color.slice(0, 3).map(c => linear(c / 255));
        return 0.2126 * r + 0.7152 * g + 0.0722 * b;
    };
    const found = [];
    const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
    while (walker.nextNode()) {
        const element = walker.currentNode.parentElement;
        if (!walker.currentNode.data.trim() || !element.checkVisibility() || element.closest('.unseen, svg')) continue;
        const style = getComputedStyle(element);
        const below = ground(element);
        const [one, other] = [luminance(over(rgba(style.color), below)), luminance(below)];
        const ratio = (Math.max(one, other) + 0.05) / (Math.min(one, other) + 0.05);
        const size = parseFloat(style.fontSize);
        const large = size >= 24 || (size >= 18.66 && style.fontWeight >= 700);
        found.push({ text: walker.currentNode.data.trim(), ratio, enough: ratio >= (large ? 3 : 4.5) });
    }
    return found;
}"""
"""The contrast of every text that is to be seen against what is behind it (WCAG 2.2, 1.4.3)."""

OUTSIDE = """() => [...document.querySelectorAll('.table')].flatMap(table => {
    const { left, right } = table.getBoundingClientRect();
    const parts = [...table.querySelectorAll('td *, th *')].filter(part => part.checkVisibility());
    return parts.filter(part => {
        const box = part.getBoundingClientRect();
        return box.width > 0 && (box.left < left || box.right > right);
    }).map(part => part.textContent);
})"""
"""What of a table stands outside of it."""

CONTROLS = {"button", "link", "textbox", "searchbox", "combobox", "radio", "checkbox", "meter"}


def tree(tab):
    """The accessibility tree as screen readers get it: (role, name, value) of each node."""
    session = tab.context.new_cdp_session(tab)
    nodes = session.send("Accessibility.getFullAXTree")["nodes"]
    session.detach()
    return [
        (
            node["role"]["value"],
            node.get("name", {}).get("value", ""),
            node.get("value", {}).get("value", ""),
        )
        for node in nodes
        if not node.get("ignored")
    ]


def shot(page, name):
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    page.tab.screenshot(path=SCREENSHOTS / f"{name}.png")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_fits_every_window_and_can_be_read(page, stand, scheme):
    tab = page.tab
    tab.emulate_media(color_scheme=scheme)
    page.open(f"/#token={stand.token}")
    tab.locator("#request-uri").fill("sip:conf7@example.com")
    tab.locator("#explain-ask").click()
    tab.locator("#answer").wait_for()
    texts = tab.evaluate(CONTRAST)
    assert {"down", "full", "draining", "ready"} <= {entry["text"] for entry in texts}
    assert [entry for entry in texts if not entry["enough"]] == []
    for device, size in WINDOWS.items():
        tab.set_viewport_size(size)
        assert not page.scrolls_sideways(), device
        assert tab.evaluate(OUTSIDE) == [], device
        tab.evaluate("() => window.scrollTo({ top: 0, behavior: 'instant' })")
        shot(page, f"{device}-{scheme}")
    page.row("fs-locked").locator(".link").click()
    assert not page.scrolls_sideways()
    assert [entry for entry in tab.evaluate(CONTRAST) if not entry["enough"]] == []
    shot(page, f"phone-{scheme}-node")


def test_colors_follow_the_system_until_somebody_chooses(page):
    page.tab.emulate_media(color_scheme="dark")
    page.open()
    ground = "() => getComputedStyle(document.body).backgroundColor"
    dark = page.tab.evaluate(ground)
    page.tab.emulate_media(color_scheme="light")
    light = page.tab.evaluate(ground)
    assert light != dark
    button, name = page.tab.locator("#theme"), page.tab.locator("#theme-name")
    button.click()
    assert (name.inner_text(), page.tab.evaluate(ground)) == ("light", light)
    button.click()
    assert (name.inner_text(), page.tab.evaluate(ground)) == ("dark", dark)
    page.tab.reload()
    assert page.tab.evaluate(ground) == dark, "the choice is kept"
    page.tab.locator("#nodes-table tbody tr").first.wait_for()


def test_everything_has_a_role_and_a_name(open_page, stand):
    page = open_page
    nodes = tree(page.tab)
    assert [node for node in nodes if node[0] in CONTROLS and not node[1].strip()] == []
    roles = {(role, name) for role, name, _ in nodes}
    assert {("banner", ""), ("main", ""), ("navigation", "Sections"), ("complementary", "Events")} <= roles
    tables = {name.split()[0] for role, name, _ in nodes if role == "table"}
    assert {"Groups", "Nodes"} <= tables
    heads = {name for role, name, _ in nodes if role == "columnheader"}
    assert {"Node", "State", "Load", "Heartbeat", "OPTIONS", "Turned away/s"} <= heads
    rows = [node for node in nodes if node[0] == "row"]
    known = stand.balancer.nodes()
    assert len(rows) == 2 + len(known) + len(stand.balancer.groups())
    meters = {name: value for role, name, value in nodes if role == "meter"}
    assert {f"Load of {name}" for name in known} <= set(meters)
    assert meters["Load of fs-paused"] == known["fs-paused"]["effective"]
    spoken = page.row("fs-paused").get_by_role("meter").get_attribute("aria-valuetext")
    assert re.fullmatch(r"0 of \d+ sessions, 0 reported", spoken)
    ids = page.tab.evaluate("() => [...document.querySelectorAll('[id]')].map(element => element.id)")
    assert len(ids) == len(set(ids))
    spoken = page.tab.evaluate(
        "() => [...document.querySelectorAll('[aria-live], [role=status], [role=log], [role=alert]')].map(e => e.id)"
    )
    assert {"connection", "events-list", "notice"} <= set(spoken)
    assert not {"nodes-table", "groups-table", "calls-per-second"} & set(spoken), "numbers are not read out"


def test_the_table_stays_a_table_on_a_phone(open_page, stand):
    open_page.tab.set_viewport_size(WINDOWS["phone"])
    roles = [role for role, _, _ in tree(open_page.tab)]
    open_page.tab.set_viewport_size(WINDOWS["desktop"])
    nodes, groups = len(stand.balancer.nodes()), len(stand.balancer.groups())
    assert roles.count("row") == 2 + nodes + groups
    assert roles.count("cell") == 9 * nodes + 6 * groups


def test_the_keyboard_reaches_all_and_the_focus_is_seen(page):
    page.open()
    keys = page.tab.keyboard
    focus = "() => document.activeElement.id || document.activeElement.textContent.trim()"
    keys.press("Tab")
    assert page.tab.evaluate(focus) == "To the nodes"
    assert page.tab.evaluate("() => document.activeElement.getBoundingClientRect().left >= 0"), (
        "seen when it has the focus"
    )
    reached = []
    for _ in range(200):
        keys.press("Tab")
        seen = page.tab.evaluate(
            """() => {
                const element = document.activeElement;
                const style = getComputedStyle(element);
                return [element.id || element.textContent.trim(), style.outlineStyle, parseFloat(style.outlineWidth)];
            }"""
        )
        if page.tab.evaluate("() => document.activeElement === document.body"):
            break
        assert (seen[1], seen[2] >= 2) == ("solid", True), seen
        reached.append(seen[0])
    wanted = [
        "theme",
        "Group",
        "default/ivr",
        "filter-words",
        "filter-group",
        "Node",
        "fs-busy",
        "request-uri",
        "events-filter",
    ]
    assert [name for name in reached if name in wanted] == wanted, "in the order in which they stand"


def test_dialogs_open_and_close_by_keyboard_and_give_the_focus_back(open_page):
    page = open_page
    keys = page.tab.keyboard
    page.row("fs-small").locator(".link").focus()
    keys.press("Enter")
    sheet = page.tab.get_by_role("dialog", name="fs-small")
    sheet.wait_for()
    for _ in range(5):
        keys.press("Tab")
        inside = "() => document.activeElement === document.body || document.activeElement.closest('dialog') !== null"
        assert page.tab.evaluate(inside), "the rest of the page is out of reach meanwhile"
    keys.press("Escape")
    sheet.wait_for(state="hidden")
    assert page.tab.evaluate("() => document.activeElement.textContent") == "fs-small"
    head = page.tab.locator("#nodes-table").get_by_role("columnheader", name="Load")
    head.get_by_role("button").focus()
    keys.press("Enter")
    assert head.get_attribute("aria-sort") == "descending"
    keys.press("Space")
    assert head.get_attribute("aria-sort") == "ascending"


def test_motion_is_left_out_on_wish(open_page):
    page = open_page
    page.tab.emulate_media(reduced_motion="reduce")
    moving = """() => [...document.querySelectorAll('*')].filter(element => {
        const style = getComputedStyle(element);
        const moves = parseFloat(style.transitionDuration) > 0 || style.animationName !== 'none';
        return moves || style.scrollBehavior === 'smooth';
    }).length"""
    assert page.tab.evaluate(moving) == 0
    page.tab.emulate_media(reduced_motion="no-preference")
    assert page.tab.evaluate(moving) > 0


def test_the_readme_shows_the_page(page, stand):
    """UPDATE_PICTURE=1 takes the picture anew."""
    picture = ROOT / "docs" / "images" / "live-page.png"
    if os.environ.get("UPDATE_PICTURE"):
        with stand.calls(rate=25):
            page.tab.set_viewport_size({"width": 1440, "height": 940})
            page.open(f"/#token={stand.token}")
            page.until("() => parseFloat(document.querySelector('#calls-per-second').textContent) > 20")
            page.tab.screenshot(path=picture)
    assert picture.read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
    assert picture.stat().st_size <= 250_000
    assert "](docs/images/live-page.png)" in (ROOT / "README.md").read_text()

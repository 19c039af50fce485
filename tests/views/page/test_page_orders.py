"""Orders by the live page: only with a token, never without a question, and in Kubernetes by kubectl alone."""

import pytest

from tests.stand.process import ask, until
from tests.views.page.conftest import LAYOUT
from tests.views.page.tab import fed

BUTTONS = "#nodes-table .order:visible"


def whole_view():
    """What the live stream would say now."""
    parts = {name: ask(f"{LAYOUT.url}/api/v1/{name}")[name] for name in ("groups", "nodes")}
    return {"time": 1_800_000_000.0, **ask(f"{LAYOUT.url}/api/v1/balancer"), **parts}


def admin_state(stand, node):
    return stand.balancer.nodes()[node]["admin"]["state"]


def test_without_a_token_nothing_can_be_ordered(page):
    page.open()
    assert page.tab.locator(BUTTONS).count() == 0
    assert page.tab.locator("#orders").inner_text().strip() == "Orders off"


def test_a_node_is_drained_and_undrained_after_a_question(page, stand):
    page.open(f"/#token={stand.token}")
    tab = page.tab
    assert tab.url == LAYOUT.url + "/", "the token is taken out of the address at once"
    button = page.row("conf-b").locator(".order")
    assert button.get_attribute("aria-label") == "Drain conf-b of default/conference"
    button.click()
    question = tab.get_by_role("dialog", name="Drain conf-b?")
    question.wait_for()
    assert tab.evaluate("document.activeElement.textContent") == "Cancel"
    tab.keyboard.press("Escape")
    question.wait_for(state="hidden")
    assert admin_state(stand, "conf-b") is None, "who only looks changes nothing"
    button.click()
    assert "no new calls" in question.inner_text()
    assert question.locator("#order-warning").is_hidden(), "another node of the group takes calls"
    question.get_by_role("button", name="Drain").click()
    question.wait_for(state="hidden")
    assert tab.locator("#notice").inner_text() == "conf-b is drained."
    assert admin_state(stand, "conf-b") == "Drained"
    page.until(
        """() => [...document.querySelectorAll('#nodes-table tbody tr')].some(row =>
            row.textContent.includes('conf-b') && /draining.*Drained/.test(row.textContent))"""
    )
    page.row("conf-a").locator(".order").click()
    last = tab.get_by_role("dialog", name="Drain conf-a?")
    assert "No other node of default/conference is eligible" in last.locator("#order-warning").inner_text()
    last.get_by_role("button", name="Cancel").click()
    page.tab.mouse.move(0, 0)
    button = page.row("conf-b").locator(".order")
    assert button.inner_text() == "Undrain"
    button.click()
    tab.get_by_role("dialog", name="Undrain conf-b?").get_by_role("button", name="Undrain").click()
    until(lambda: stand.balancer.states()["conf-b"] == "ready", "conf-b back", 5)
    assert admin_state(stand, "conf-b") is None
    events = ask(f"{LAYOUT.url}/api/v1/events?type=Order&node=conf-b")["events"]
    assert [event["reason"] for event in events] == ["Drain", "Undrain"]


def test_the_token_is_kept_in_the_tab_and_forgotten_on_wish(page, stand):
    page.open(f"/#token={stand.token}")
    page.tab.reload()
    page.tab.locator(BUTTONS).first.wait_for()
    assert page.tab.evaluate("JSON.stringify(localStorage)").find(stand.token) == -1
    page.tab.get_by_role("button", name="Orders are on: forget the token").click()
    assert page.tab.locator(BUTTONS).count() == 0
    page.tab.reload()
    page.tab.locator("#nodes-table tbody tr").first.wait_for()
    assert page.tab.locator(BUTTONS).count() == 0


def test_a_token_that_is_refused_is_forgotten_and_asked_for_anew(page):
    page.forgive(r"status of 401")
    page.open("/#token=guessed")
    page.row("conf-b").locator(".order").click()
    page.tab.get_by_role("dialog", name="Drain conf-b?").get_by_role("button", name="Drain").click()
    again = page.tab.get_by_role("dialog", name="Give the token")
    again.wait_for()
    assert "refused" in again.get_by_role("alert").inner_text()
    assert page.tab.evaluate("sessionStorage.getItem('switchtender.token')") is None
    assert page.tab.locator(BUTTONS).count() == 0


def test_the_token_is_asked_for_once_and_tried_before_it_is_held(page, stand):
    page.forgive(r"status of 401")
    page.open()
    page.tab.get_by_role("button", name="Orders are off: give the token").click()
    dialog = page.tab.get_by_role("dialog", name="Give the token")
    field = dialog.get_by_label("Token")
    assert field.get_attribute("type") == "password"
    field.fill("guessed")
    field.press("Enter")
    dialog.get_by_role("alert").wait_for()
    assert "not this balancer's" in dialog.get_by_role("alert").inner_text()
    assert page.tab.locator(BUTTONS).count() == 0
    field.fill(stand.token)
    dialog.get_by_role("button", name="Turn orders on").click()
    dialog.wait_for(state="hidden")
    assert page.tab.locator(BUTTONS).count() == len(stand.balancer.nodes())


@pytest.mark.parametrize("node", ["conf-a"])
def test_in_kubernetes_the_page_shows_the_command(page, node):
    """A balancer in Kubernetes answers an order with 409 and the command; the rest of the view is this balancer's."""
    command = (
        f'kubectl -n default annotate pod {node} --overwrite switchtender.dev/drain="$(date -u +%Y-%m-%dT%H:%M:%SZ)"'
    )
    words = f"in Kubernetes the API server says what is wanted of a node: {command}"
    sent = []

    def refuse(route):
        sent.append(route.request)
        route.fulfill(status=409, json={"error": words})

    page.forgive(r"status of 409")
    page.tab.route("**/api/v1/nodes/*/drain", refuse)
    fed(page, {**whole_view(), "orders": "kubectl"})
    assert page.tab.locator("#orders").is_hidden()
    page.row(node).locator(".order").click()
    dialog = page.tab.get_by_role("dialog", name=f"Drain {node}?")
    dialog.get_by_role("button", name="Copy").wait_for()
    assert dialog.locator("#order-command").inner_text() == command
    assert dialog.locator("#order-yes").is_hidden()
    assert "authorization" not in sent[0].headers

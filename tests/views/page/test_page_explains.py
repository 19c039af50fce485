"""The explain form of the live page gives the answer that the API gives."""

import pytest

from tests.stand.process import ask
from tests.views.page.conftest import LAYOUT

MESSAGE = """\
INVITE sip:conf7@example.com SIP/2.0
Via: SIP/2.0/UDP 192.0.2.9;branch=z9hG4bK1
Max-Forwards: 70
From: <sip:alice@example.org>;tag=1
To: <sip:conf7@example.com>
Call-ID: 77@192.0.2.9
CSeq: 1 INVITE
Content-Length: 0
"""


@pytest.fixture
def page(open_page):
    """One page for all questions, with an empty form."""
    open_page.tab.get_by_label("Fields").check()
    open_page.tab.locator("#explain-form").evaluate("form => form.reset()")
    return open_page


def asked(page):
    """Press the button; the question as it was sent, and the answer."""
    with page.tab.expect_response("**/api/v1/explain") as exchange:
        page.tab.get_by_role("button", name="Explain").click()
    return exchange.value.request.post_data_json, exchange.value.json()


def shown(page):
    """Candidates by name: state, verdict and why."""
    page.tab.locator("#answer").wait_for()
    return {cells[0][0]: cells[1] for cells in page.rows("candidates").values()}


def expected(answer):
    return {
        entry["name"]: [
            entry["state"],
            entry["verdict"] + (", chosen" if entry["taken"] else ""),
            entry["why"],
        ]
        for entry in answer["candidates"]
    }


def test_the_fields_ask_what_the_api_is_asked(page):
    form = page.tab.locator("#explain-form")
    form.get_by_label("Request-URI").fill("sip:conf7@example.com")
    form.get_by_label("From").fill("sip:alice@example.org")
    form.get_by_label("Source").fill("192.0.2.9")
    form.get_by_label("Header lines").fill("X-Tenant: gold\n\nSubject: a: b")
    question, answer = asked(page)
    assert question == {
        "requestUri": "sip:conf7@example.com",
        "from": "sip:alice@example.org",
        "source": "192.0.2.9",
        "headers": {"X-Tenant": "gold", "Subject": "a: b"},
    }
    direct = ask(f"{LAYOUT.url}/api/v1/explain", "POST", question)
    assert shown(page) == expected(answer) == expected(direct)
    assert direct["choice"]["name"] == "conf-a"
    what = page.tab.locator("#answer-what").inner_text()
    assert what == f"Goes to conf-a ({direct['choice']['sip']} over UDP)."
    assert page.tab.locator("#answer-how").inner_text() == "Group default/conference: by its rule 0; algorithm First."


def test_a_pasted_message_is_asked_as_it_is(page):
    page.tab.get_by_label("A SIP message").check()
    assert page.tab.locator("#request-uri").is_hidden()
    page.tab.get_by_label("SIP request").fill(MESSAGE)
    question, answer = asked(page)
    assert question == {"message": MESSAGE}
    assert shown(page) == expected(answer)
    assert answer["choice"]["name"] == "conf-a"


def test_where_no_node_takes_the_call_each_says_why(page):
    page.tab.locator("#request-uri").fill("sip:0012@example.com")
    _, answer = asked(page)
    assert shown(page) == expected(answer) == {"gw-1": ["down", "Unreachable", "is stale or down"]}
    assert page.tab.locator("#answer-what").inner_text().startswith("No node takes the call: every node is ")


def test_a_question_that_cannot_be_answered_says_what_to_change(page):
    page.forgive(r"status of 400")
    page.tab.locator("#request-uri").fill("sip:1@example.com")
    page.tab.get_by_label("Header lines").fill("no header")
    page.tab.get_by_role("button", name="Explain").click()
    trouble = page.tab.locator("#explain-trouble")
    assert trouble.inner_text() == "Not a header line: no header. Accepted: Name: value"
    page.tab.get_by_label("Header lines").fill("")
    page.tab.locator("#explain-form").get_by_label("Listener").fill("nowhere")
    with page.tab.expect_response("**/api/v1/explain") as exchange:
        page.tab.get_by_role("button", name="Explain").click()
    page.until(
        "words => document.querySelector('#explain-trouble').textContent === words", exchange.value.json()["error"]
    )
    assert page.tab.locator("#answer").is_hidden()

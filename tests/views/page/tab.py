"""The live page in a browser tab, as a test drives and reads it."""

from __future__ import annotations

import re
from contextlib import contextmanager

TABLE = """table => [...table.querySelectorAll('tbody > tr')].map(row => ({
    key: row.dataset.key,
    cells: [...row.cells].map(cell => [...cell.querySelectorAll('*')]
        .filter(part => part.checkVisibility() && [...part.childNodes].some(
            child => child.nodeType === Node.TEXT_NODE && child.data.trim()))
        .map(part => part.textContent)),
}))"""
"""Every row of a table with the texts of each cell, piece by piece."""


class Page:
    """A tab with the page in it. ``requests`` and ``said`` are what it asked for and what its console says."""

    def __init__(self, tab, url):
        self.tab = tab
        self.url = url
        self.requests = []
        self.said = []
        self.forgiven = []
        tab.on("request", lambda request: self.requests.append(request.url))
        tab.on("console", lambda message: self.said.append(f"{message.type}: {message.text}"))
        tab.on("pageerror", lambda error: self.said.append(f"error: {error}"))

    def open(self, path="/"):
        """Load it, and wait for the first view."""
        self.tab.goto(self.url + path)
        self.tab.locator("#connection[data-state=live]").wait_for()
        self.tab.locator("#nodes-table tbody tr").first.wait_for()
        return self

    def forgive(self, pattern):
        """The console may say this: what the test does brings it about."""
        self.forgiven.append(re.compile(pattern))

    def complaints(self):
        """What the console says and nobody forgave."""
        return [said for said in self.said if not any(pattern.search(said) for pattern in self.forgiven)]

    def strangers(self):
        """Requests to anybody but the balancer."""
        return [url for url in self.requests if not url.startswith((self.url + "/", "data:", "blob:"))]

    def rows(self, table):
        """The rows of ``table`` (an id) by key, each a list of cells, each a list of texts."""
        found = self.tab.locator(f"#{table} table").evaluate(TABLE)
        return {row["key"]: row["cells"] for row in found}

    def row(self, node):
        """The row of the node that this name belongs to."""
        return self.tab.locator("#nodes-table tbody tr", has=self.tab.get_by_role("button", name=node, exact=True))

    def state(self, node):
        """State and reason of the node as shown."""
        row = self.row(node)
        return row.locator(".badge").inner_text().strip(), row.locator(".reason").inner_text()

    def until(self, script, argument=None, patience=60_000):
        """Wait until a script in the page gives something true."""
        self.tab.wait_for_function(script, arg=argument, timeout=patience)

    def scrolls_sideways(self):
        """Whether the page is wider than its window."""
        return self.tab.evaluate("document.documentElement.scrollWidth > window.innerWidth")


@contextmanager
def tab_of(browser, url, **context):
    """A Page in a context of its own, with nothing kept from others."""
    opened = browser.new_context(base_url=url, locale="en-US", timezone_id="UTC", **context)
    opened.set_default_timeout(60_000)
    try:
        yield Page(opened.new_page(), url)
    finally:
        opened.close()


FED = """(() => {
    window.EventSource = class extends EventTarget {
        constructor() { super(); window.source = this; this.readyState = 1; }
        close() {}
    };
    window.feed = (name, document) =>
        window.source.dispatchEvent(new MessageEvent(name, { data: JSON.stringify(document) }));
})()"""
"""In place of the live stream: the test gives the views and the events."""


def fed(page, view, events=()):
    """Load the page with this view and these events, as the balancer might send them."""
    page.tab.add_init_script(FED)
    page.tab.route(
        "**/api/v1/events*", lambda route: route.fulfill(json={"events": list(events), "first": 1, "last": 9})
    )
    page.tab.goto(page.url + "/")
    page.until("() => window.source !== undefined")
    page.tab.evaluate("view => window.feed('view', view)", view)
    return page

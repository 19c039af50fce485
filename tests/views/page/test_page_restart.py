"""The balancer ends and comes back: the page says since when what stands is old, and goes on by itself."""


def test_the_page_goes_on_with_the_next_process(page, stand):
    page.forgive(r"ERR_CONNECTION_REFUSED|ERR_CONNECTION_RESET|ERR_INCOMPLETE_CHUNKED_ENCODING|ERR_EMPTY_RESPONSE")
    page.open()
    page.tab.locator("#events-list li").first.wait_for()
    before = page.tab.locator("#events-list li").count()
    rows = list(page.rows("nodes-table"))
    stand.balancer.process.kill()
    page.tab.locator("#connection[data-state=reconnecting]").wait_for()
    assert page.tab.locator("#connection").inner_text().startswith("Reconnecting since ")
    assert page.tab.locator("#old").is_visible()
    assert list(page.rows("nodes-table")) == rows, "what was known last stays"
    stand.stop()
    stand.start()
    page.tab.locator("#connection[data-state=live]").wait_for()
    page.tab.locator("#old").wait_for(state="hidden")
    page.until(
        "count => document.querySelectorAll('#events-list li').length > 0"
        " && document.querySelector('#events-list li:last-child').dataset.id === '1'",
        before,
    )

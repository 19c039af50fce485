"""The live page as files: how they are served, and rules for them that hold without a browser."""

import re
from pathlib import Path

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from switchtender.http import static
from switchtender.http.answers import errors_as_json

PAGE = Path(static.__file__).parent / "page"
SOURCES = sorted(PAGE.iterdir())
MODULES = [file for file in SOURCES if file.suffix == ".js"]
VERDICTS = Path(__file__).parents[1] / "crates" / "select" / "src" / "verdict.rs"


@pytest.fixture
async def client():
    app = web.Application(middlewares=[errors_as_json])
    app.add_routes(static.routes())
    async with TestClient(TestServer(app)) as running:
        yield running


async def test_the_page_stands_at_the_root_and_a_browser_is_held_to_us(client):
    page = await client.get("/")
    assert (page.status, page.content_type) == (200, "text/html")
    assert await page.read() == (PAGE / "index.html").read_bytes()
    rules = dict(rule.split(maxsplit=1) for rule in page.headers["Content-Security-Policy"].split("; "))
    assert rules["default-src"] == rules["frame-ancestors"] == rules["base-uri"] == "'none'"
    assert {rules[kind] for kind in ("script-src", "style-src", "img-src", "connect-src")} == {"'self'"}
    assert page.headers["X-Content-Type-Options"] == "nosniff"
    assert page.headers["Referrer-Policy"] == "no-referrer"


@pytest.mark.parametrize("file", SOURCES, ids=lambda file: file.name)
async def test_every_file_is_served_with_its_kind_and_only_when_it_is_new(client, file):
    answer = await client.get(f"/static/{file.name}")
    assert answer.status == 200
    assert await answer.read() == file.read_bytes()
    kinds = {".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml", ".html": "text/html"}
    assert answer.content_type == kinds[file.suffix]
    assert answer.headers["Cache-Control"] == "no-cache"
    tag = answer.headers["ETag"]
    again = await client.get(f"/static/{file.name}", headers={"If-None-Match": f'"other", W/{tag}'})
    assert (again.status, await again.read(), again.headers["ETag"]) == (304, b"", tag)
    other = await client.get(f"/static/{file.name}", headers={"If-None-Match": '"other"'})
    assert other.status == 200


async def test_the_head_of_a_file_says_what_the_file_would(client):
    whole, head = await client.get("/"), await client.head("/")
    assert (head.status, await head.read()) == (200, b"")
    assert head.headers["ETag"] == whole.headers["ETag"]
    assert head.headers["Content-Length"] == whole.headers["Content-Length"]


@pytest.mark.parametrize("path", ["/static/none.js", "/static/..%2fstatic.py", "/static/%2e%2e/app.py", "/static/"])
async def test_nothing_but_the_files_of_the_page_is_there(client, path):
    answer = await client.get(path)
    assert answer.status == 404
    assert await answer.json() == {"error": "Not Found"}


def test_what_a_file_refers_to_is_there():
    names = {file.name for file in SOURCES}
    html = (PAGE / "index.html").read_text()
    assert set(re.findall(r'(?:href|src)="static/([^"]+)"', html)) <= names
    for module in MODULES:
        assert set(re.findall(r'from "\./([^"]+)"', module.read_text())) <= names, module.name
    entered = set(re.findall(r'<script [^>]*src="static/([^"]+)"', html))
    imported = {name for module in MODULES for name in re.findall(r'from "\./([^"]+)"', module.read_text())}
    assert {module.name for module in MODULES} == entered | imported, "a module that nobody uses"


@pytest.mark.parametrize("file", SOURCES, ids=lambda file: file.name)
def test_nothing_comes_from_elsewhere_and_no_text_becomes_markup(file):
    text = file.read_text().replace("http://www.w3.org/2000/svg", "")
    assert re.findall(r"https?://|@import|url\(", text) == []
    made = r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function|srcdoc|DOMParser"
    assert re.findall(made, text) == []
    assert re.findall(r'\sstyle="|\son\w+="|<style|<script>', text) == [], "the policy forbids what stands inline"


@pytest.mark.parametrize("file", SOURCES, ids=lambda file: file.name)
def test_files_stay_small(file):
    assert len(file.read_text().splitlines()) < 200


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.name)
def test_every_element_that_a_module_asks_for_is_there_once(module):
    ids = re.findall(r'\bid="([^"]+)"', (PAGE / "index.html").read_text())
    assert len(ids) == len(set(ids))
    asked = re.findall(r'(?:byId|getElementById)\("([^"]+)"\)', module.read_text())
    assert set(asked) <= set(ids)


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.name)
def test_what_a_module_imports_is_exported_and_used(module):
    text = module.read_text()
    for names, source in re.findall(r'import \{([^}]+)\} from "\./([^"]+)"', text):
        exported = re.findall(
            r"^export (?:async )?(?:const|function|class) (\w+)", (PAGE / source).read_text(), re.MULTILINE
        )
        for name in names.replace(",", " ").split():
            assert name in exported, f"{source} exports no {name}"
            assert len(re.findall(rf"\b{name}\b", text)) > 1, f"{name} is imported for nothing"


def test_every_verdict_of_the_packet_core_has_its_words():
    named = set(re.findall(r'Self::\w+ => "(\w+)"', VERDICTS.read_text()))
    table = re.search(r"VERDICTS = \{(.*?)\};", (PAGE / "words.js").read_text(), re.DOTALL)[1]
    assert set(re.findall(r"^  (\w+):", table, re.MULTILINE)) == named != set()

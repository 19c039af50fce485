"""``switchtender explain``: where a call would go now, and of each node why or why not."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from switchtender.cli.completion import groups
from switchtender.cli.exits import unwell
from switchtender.cli.forms import emit, for_machines
from switchtender.cli.options import balancer_option, examples, output_option

if TYPE_CHECKING:
    from switchtender.cli.client import BalancerApi


@click.command(
    epilog=examples(
        "switchtender explain --request-uri sip:1000@example.com",
        "switchtender explain --request-uri sip:1000@example.com --source 192.0.2.1 --header 'X-Class: gold'",
        "switchtender explain invite.txt",
    )
)
@balancer_option
@output_option
@click.argument("message", required=False, type=click.File("rb"))
@click.option("--request-uri", default=None, help="Request-URI of the call, such as sip:1000@example.com.")
@click.option("--method", default=None, help="Method of the request; INVITE by default.")
@click.option("--source", default=None, help="IP address the request comes from.")
@click.option("--listener", default=None, metavar="NAME", help="Listener it comes to; the first by default.")
@click.option("--from", "from_", default=None, help="From header, or the URI in it.")
@click.option("--to", default=None, help="To header, or the URI in it.")
@click.option("--call-id", default=None, help="Call-ID header.")
@click.option("--header", "headers", multiple=True, metavar="NAME:VALUE", help="Another header. May be repeated.")
@click.option(
    "--group",
    default=None,
    metavar="NAMESPACE/NAME",
    shell_complete=groups,
    help="Ask this group, whichever would match.",
)
def explain(
    api: BalancerApi,
    output: str,
    message: Any,
    request_uri: str | None,
    method: str | None,
    source: str | None,
    listener: str | None,
    from_: str | None,
    to: str | None,
    call_id: str | None,
    headers: tuple[str, ...],
    group: str | None,
) -> None:
    """Say where a call would go now, and why. Nothing is sent, nothing is counted.

    MESSAGE is a file with a whole SIP request, or - for standard input, instead of --request-uri and what goes with it.
    """
    attributes = {
        "requestUri": request_uri,
        "method": method,
        "from": from_,
        "to": to,
        "callId": call_id,
        "headers": dict(map(_header, headers)) or None,
    }
    circumstances = {"source": source, "listener": listener, "group": group}
    if (message is None) == (request_uri is None):
        raise click.UsageError("give --request-uri, or a file with a SIP request (- for standard input)")
    if message is not None:
        if any(value is not None for value in attributes.values()):
            raise click.UsageError("a message says itself what its headers are: leave the other options out")
        attributes = {"message": message.read().decode("utf-8", "replace")}
    question = {name: value for name, value in (attributes | circumstances).items() if value is not None}
    answer = api.explain(question)
    if for_machines(output):
        emit(answer, output)
    else:
        show(answer, wide=output == "wide")
    if answer.get("choice") is None:
        unwell()


def _header(text: str) -> tuple[str, str]:
    name, colon, value = text.partition(":")
    if not colon or not name.strip():
        raise click.BadParameter(f"{text}: accepted: NAME:VALUE", param_hint="--header")
    return name.strip(), value.strip()


def show(answer: dict[str, Any], *, wide: bool) -> None:
    """The words and the tables."""
    from switchtender.cli import tables

    out = tables.console()
    group, choice = answer.get("group"), answer.get("choice")
    if group is None:
        out.print("no group matches: the call gets 404")
        return
    for line in _asked(answer, group):
        out.print(line)
    out.print(tables.candidates(answer["candidates"], wide=wide))
    spill = answer.get("spill")
    if spill is not None:
        out.print(f"over its limit it spills into group {spill['group']['namespace']}/{spill['group']['name']}")
        out.print(tables.candidates(spill["candidates"], wide=wide))
    if choice is None:
        out.print(f"no node takes the call: {answer.get('reason')}")
    else:
        transport = f" over {choice['transport']}" if choice.get("transport") else ""
        out.print(f"goes to {choice['name']} ({choice['sip']}{transport}); another draw may differ")


def _asked(answer: dict[str, Any], group: dict[str, Any]) -> list[str]:
    """Which group and rule, by which algorithm, and what the call wants of a node."""
    rule = answer.get("rule")
    by = "every call is its" if rule is None else f"by its rule {rule}"
    if answer.get("matches") is False:
        by = "none of its rules matches: asked because --group names it"
    lines = [f"group {group['namespace']}/{group['name']}: {by}"]
    if answer.get("algorithm"):
        key = f", hash key {answer['hash']}" if answer.get("hash") else ""
        lines.append(f"algorithm {answer['algorithm']}{key}")
    wanted = answer.get("wanted")
    if wanted:
        named = "".join(f", 1 {name}" for name in wanted["resources"])
        emergency = "; an emergency call" if wanted["emergency"] else ""
        sessions = f"{wanted['legs']} session{'s' if wanted['legs'] != 1 else ''}"
        lines.append(f"wants {sessions}{named}{emergency}")
    return lines

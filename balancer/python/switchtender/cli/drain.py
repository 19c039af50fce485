"""``switchtender drain`` and ``undrain``: of a standalone balancer with its token, in Kubernetes with the caller's own
kubeconfig; and the countdown to the end of the calls.
"""

from __future__ import annotations

import contextlib
import functools
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Protocol

import click
from click.core import ParameterSource

from switchtender.cli.completion import drainable, groups
from switchtender.cli.countdown import Drains, Phase, Progress, Waited, line, wait
from switchtender.cli.exits import fail, timed_out, unwell
from switchtender.cli.forms import emit, for_machines, printable
from switchtender.cli.options import Command, Duration, balancer_api, ca_option, examples, output_option, url_option
from switchtender.cli.token import token_option

if TYPE_CHECKING:
    from switchtender.cli.cluster import Node

_OF_A_BALANCER = ("url", "ca_file", "token_file")
_PAUSE = 10.0
"""Seconds between two lines of the countdown where standard error is no terminal."""
_ENDS = {
    Phase.DRAINED: "drained",
    Phase.GONE: "gone",
    Phase.RELEASED: "released with its calls, as its group says",
    Phase.CANCELLED: "takes calls again: somebody ended the drain",
    Phase.DRAINING: "still drains",
    Phase.AWAITED: "is not seen to drain",
}


class Moment(click.ParamType[datetime]):
    """An RFC 3339 time."""

    name = "rfc3339"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> datetime:
        """The time, with its offset."""
        if isinstance(value, datetime):
            return value
        from switchtender_api.problems import Refusal
        from switchtender_api.v1alpha1.units import parse_time

        try:
            return parse_time(value)
        except Refusal as refusal:
            self.fail(f"{value!r}: {refusal.message}; accepted: {refusal.accepted}", param, ctx)


class Opens(Protocol):
    """Knows which nodes the command line names."""

    def __call__(
        self, since: datetime | None, *, moved: bool = False, counted: bool = False
    ) -> contextlib.AbstractContextManager[Drains]:
        """These nodes for the time of a ``with`` block: to begin their drain at that time, or to end it (None).

        ``moved``: drains that stand are to begin then, too. ``counted``: their calls are going to be waited for.
        """


def _drained(command: Command) -> Command:
    """Options that say which nodes are meant, and who is told: a balancer, or the API server of a cluster.

    The command is given ``opens``, and ``cluster``: whether it is a cluster.
    """

    @click.argument("node", nargs=-1, shell_complete=drainable)
    @click.option("--selector", "-l", metavar="LABEL=VALUE,…", help="Kubernetes: the pods with these labels, too.")
    @click.option(
        "--group",
        metavar="[NAMESPACE/]NAME",
        shell_complete=groups,
        help="Group of the node, where its name is that of several. Kubernetes: NODE is a static member of this group.",
    )
    @click.option("--kubernetes", is_flag=True, help="Tell the cluster of the kubeconfig, not a balancer.")
    @click.option("--namespace", "-n", help="Kubernetes: the namespace; by default that of the context.")
    @click.option("--context", help="Kubernetes: the kubeconfig's context; by default the current one.")
    @click.option("--kubeconfig", help="Kubernetes: the file; by default $KUBECONFIG, or ~/.kube/config.")
    @url_option
    @ca_option
    @token_option
    @output_option
    @functools.wraps(command)
    def asking(**given: Any) -> None:
        ctx = click.get_current_context()
        which = {name: given.pop(name) for name in ("node", "selector", "group")}
        where = {name: given.pop(name) for name in ("namespace", "context", "kubeconfig")}
        balancer = {name: given.pop(name) for name in _OF_A_BALANCER}
        if not which["node"] and which["selector"] is None:
            raise click.UsageError("give NODE, or pods by --selector")
        wide = given["output"] == "wide"
        cluster = given.pop("kubernetes") or any(each is not None for each in (*where.values(), which["selector"]))
        if not cluster:
            command(opens=_balancer(ctx.command.name or "", which, balancer, wide=wide), cluster=False, **given)
            return
        for name in _OF_A_BALANCER:
            if ctx.get_parameter_source(name) is ParameterSource.COMMANDLINE:
                option = f"--{name.replace('_', '-')}"
                raise click.UsageError(f"{option} is for a balancer, other options for Kubernetes: which is meant?")
        command(opens=_cluster(where, which, wide=wide), cluster=True, **given)

    return asking


def _balancer(verb: str, which: dict[str, Any], given: dict[str, Any], *, wide: bool) -> Opens:
    @contextlib.contextmanager
    def opened(since: datetime | None, *, moved: bool = False, counted: bool = False) -> Iterator[Drains]:
        from switchtender.cli.balancer_drains import BalancerDrains

        api = balancer_api(given["url"], given["ca_file"], (given["token_file"],))
        yield BalancerDrains(api, verb, _each_once(which["node"]), which["group"], wide=wide)

    return opened


def _cluster(where: dict[str, Any], which: dict[str, Any], *, wide: bool) -> Opens:
    @contextlib.contextmanager
    def opened(since: datetime | None, *, moved: bool = False, counted: bool = False) -> Iterator[Drains]:
        from switchtender.cli.cluster import Access, Cluster
        from switchtender.cli.cluster_drains import ClusterDrains, chosen

        with Cluster.opened(Access(**where)) as cluster:
            nodes: list[Node] = chosen(
                cluster, _each_once(which["node"]), which["selector"], which["group"], _note, counted=counted
            )
            yield ClusterDrains(cluster, nodes, since, _note, moved=moved, counted=counted, wide=wide)

    return opened


def _each_once(names: Sequence[str]) -> list[str]:
    return list(dict.fromkeys(names))


@click.command(
    epilog=examples(
        "switchtender drain fs1 --wait",
        "switchtender drain -n voice freeswitch-7d9c-x2x --wait --timeout 2h",
        "switchtender drain -n voice -l app=freeswitch,pool=old --at 2026-03-01T22:00:00Z",
        "switchtender drain -n voice --group external fs1",
    ),
)
@click.option("--at", type=Moment(), help="Kubernetes: drain from this RFC 3339 time on; by default from now.")
@click.option(
    "--wait",
    "waits",
    is_flag=True,
    help="Show the countdown, and end when no calls are left, or at the deadline where the group says Release.",
)
@click.option("--timeout", type=Duration(), help="How long --wait waits at most; by default for ever.")
@_drained
def drain(
    *,
    opens: Opens,
    cluster: bool,
    at: datetime | None,
    waits: bool,
    timeout: float | None,
    output: str,
) -> None:
    """Send NODE no new calls; those that stand go on.

    The balancer at --url is told, and keeps it over reloads and restarts. With an option for Kubernetes the pod NODE is
    annotated instead, and every balancer of the cluster heeds it.
    """
    if timeout is not None and not waits:
        raise click.UsageError("--timeout is for --wait")
    if at is not None and not cluster:
        raise click.UsageError("--at is for Kubernetes; a balancer drains at once")
    since = at or datetime.now(UTC).replace(microsecond=0)
    with opens(since, moved=at is not None, counted=waits) as drains:
        _carry_out(drains, output, timeout, waits=waits)


@click.command(epilog=examples("switchtender undrain fs1", "switchtender undrain -n voice freeswitch-7d9c-x2x"))
@_drained
def undrain(*, opens: Opens, cluster: bool, output: str) -> None:
    """End what drain began."""
    del cluster  # both are told in the same way
    with opens(None) as drains:
        _carry_out(drains, output)


def _carry_out(drains: Drains, output: str, timeout: float | None = None, *, waits: bool = False) -> None:
    ordered = drains.order()
    if not for_machines(output):
        for text in ordered.lines:
            click.echo(text)
    waited = _wait(drains, timeout) if waits and not ordered.failures else None
    if for_machines(output):
        if ordered.document:
            emit(ordered.document if waited is None else {**ordered.document, "waited": waited.document()}, output)
    elif waited is not None:
        for node in waited.nodes:
            click.echo(f"{node.node}: {_ENDS[node.phase]}")
    if ordered.failures:
        fail("; ".join(ordered.failures))
    if waited is not None:
        _end(waited)


def _wait(drains: Drains, timeout: float | None) -> Waited:
    terminal = sys.stderr.isatty()
    try:
        return wait(drains.look, _countdown(terminal=terminal), timeout)
    finally:
        if terminal:
            click.echo(err=True)


def _end(waited: Waited) -> None:
    if waited.timed_out:
        timed_out()
    if not waited.over:
        unwell()


def _note(text: str) -> None:
    click.echo(f"switchtender: {printable(text)}", err=True)


def _countdown(
    *, terminal: bool, clock: Callable[[], float] = time.monotonic
) -> Callable[[Sequence[Progress], str | None], None]:
    """Shows the countdown on standard error: in place on a terminal, elsewhere a line now and then."""
    said, at = "", float("-inf")

    def tell(nodes: Sequence[Progress], trouble: str | None) -> None:
        nonlocal said, at
        text = printable(trouble or line(nodes, datetime.now(UTC)))
        if terminal:
            click.echo(f"\r\x1b[K{text}", err=True, nl=False)
        elif text != said and (trouble or clock() - at >= _PAUSE):
            click.echo(text, err=True)
            said, at = text, clock()

    return tell

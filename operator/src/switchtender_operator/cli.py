"""The commands. How they end stands in ``switchtender_api.exit_status``."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import click
import yaml

from switchtender_api.crd import KINDS, custom_resource
from switchtender_api.exit_status import ExitStatus
from switchtender_operator.config.settings import Settings, SettingsError, names, scalable_kinds, unique_identity
from switchtender_operator.telemetry import logs

if TYPE_CHECKING:
    from switchtender_kube import Client

_NAMESPACE_FILE = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")

_kubeconfig = click.option(
    "--kubeconfig",
    envvar=["SWITCHTENDER_KUBECONFIG", "KUBECONFIG"],
    metavar="FILE",
    help="kubeconfig to use; without it the pod's ServiceAccount, else ~/.kube/config.",
)
_context = click.option(
    "--context", envvar="SWITCHTENDER_CONTEXT", metavar="NAME", help="Context of the kubeconfig; its current one."
)
_log_format = click.option(
    "--log-format",
    envvar="SWITCHTENDER_LOG_FORMAT",
    type=click.Choice(["json", "console"]),
    default="json",
    show_default=True,
    help="Form of logs.",
)
_log_level = click.option(
    "--log-level",
    envvar="SWITCHTENDER_LOG_LEVEL",
    type=click.Choice(["debug", "info", "warning", "error"]),
    default="info",
    show_default=True,
    help="Least level logged.",
)


class _Program(click.Group):
    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; Ctrl-C, and a question that is not answered with yes, end it as they do everywhere."""
        try:
            return super().invoke(ctx)
        except (KeyboardInterrupt, click.Abort):
            ctx.exit(ExitStatus.INTERRUPTED)


@click.group(cls=_Program, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="switchtender-operator", message="%(prog)s %(version)s")
def main() -> None:
    """From pods and BalancerGroups to DestinationSets: the Kubernetes operator of Switchtender."""


def _example(line: str) -> str:
    return f"\b\nExamples:\n  {line}"


@main.command(
    context_settings={"show_default": True},
    epilog=_example("switchtender-operator run --namespace voice --watch-namespaces voice --log-format console"),
)
@click.option(
    "--watch-namespaces",
    envvar="SWITCHTENDER_WATCH_NAMESPACES",
    default="",
    metavar="A,B",
    help="Namespaces whose BalancerGroups and pods are watched; empty: all, at cluster scope.",
)
@click.option(
    "--namespace",
    envvar=["SWITCHTENDER_NAMESPACE", "POD_NAMESPACE"],
    metavar="NAME",
    help="The operator's own namespace: its Lease, the balancers, their ConfigMaps and Secrets. In a pod: the pod's.",
)
@click.option(
    "--identity",
    envvar="SWITCHTENDER_IDENTITY",
    metavar="TEXT",
    help="Holder name in the Lease, different for each process. Default: the pod's or host's name and a random part.",
)
@click.option("--pod-name", envvar="POD_NAME", hidden=True)
@click.option(
    "--lease-name",
    envvar="SWITCHTENDER_LEASE_NAME",
    default="switchtender-operator",
    metavar="NAME",
    help="Lease by which replicas agree on the one that writes.",
)
@click.option(
    "--lease-duration",
    envvar="SWITCHTENDER_LEASE_DURATION",
    type=click.FloatRange(3.0, 300.0),
    default=15.0,
    metavar="SECONDS",
    help="After this time without renewal another replica takes over; the holder stops writing after two thirds of it.",
)
@click.option(
    "--leader-election/--no-leader-election",
    envvar="SWITCHTENDER_LEADER_ELECTION",
    default=True,
    help="Agree on one writer by the Lease. Without it there must be one replica, never two at a time.",
)
@click.option(
    "--esl-secret-names",
    envvar="SWITCHTENDER_ESL_SECRET_NAMES",
    default="esl",
    metavar="A,B",
    help="Names of Secrets that balancers may read ESL passwords from; a group that names another is not accepted.",
)
@click.option(
    "--crds/--no-crds",
    envvar="SWITCHTENDER_CRDS",
    default=True,
    help="Create missing CRDs and upgrade older ones at start. Newer ones are never touched.",
)
@click.option(
    "--http-address",
    envvar="SWITCHTENDER_HTTP_ADDRESS",
    default="0.0.0.0",
    metavar="ADDRESS",
    help="Address of /healthz, /readyz and /metrics.",
)
@click.option(
    "--http-port", envvar="SWITCHTENDER_HTTP_PORT", type=click.IntRange(0, 65535), default=8081, help="Its port."
)
@click.option(
    "--write-qps",
    envvar="SWITCHTENDER_WRITE_QPS",
    type=click.FloatRange(0.1, 1000.0),
    default=20.0,
    help="Writes to the API server a second, in the long run.",
)
@click.option(
    "--write-burst",
    envvar="SWITCHTENDER_WRITE_BURST",
    type=click.IntRange(1, 10_000),
    default=40,
    help="Writes to the API server at once.",
)
@click.option(
    "--autoscale-targets",
    envvar="SWITCHTENDER_AUTOSCALE_TARGETS",
    default="Deployment,StatefulSet",
    metavar="A,B",
    help="Kinds for spec.autoscale: Deployment, StatefulSet, group/version/plural:Kind; empty: no autoscaling.",
)
@click.option(
    "--pod-marks/--no-pod-marks",
    envvar="SWITCHTENDER_POD_MARKS",
    default=True,
    help="Mark pods by their load, for ReplicaSets (pod-deletion-cost) and for autoscalers of hosts (safe-to-evict).",
)
@click.option(
    "--drain-cordoned-nodes/--no-drain-cordoned-nodes",
    envvar="SWITCHTENDER_DRAIN_CORDONED_NODES",
    default=False,
    help="Drain pods whose Kubernetes node is cordoned. Watches nodes, so not with --watch-namespaces.",
)
@_kubeconfig
@_context
@_log_format
@_log_level
def run(log_format: str, log_level: str, pod_name: str | None, **given: Any) -> None:
    """Run the operator until SIGTERM or SIGINT, which give up the Lease; a second signal ends it at once."""
    from switchtender_operator.app import StartError, run_operator

    logs.configure(log_format, log_level)
    try:
        stopped = asyncio.run(run_operator(_settings(pod_name, given)))
    except (SettingsError, StartError) as error:
        _fail(str(error))
    if not stopped:
        sys.exit(ExitStatus.UNWELL)


@main.group()
def crds() -> None:
    """Print, apply or delete the CustomResourceDefinitions that this version brings."""


@crds.command("print", epilog=_example("switchtender-operator crds print | kubectl apply --server-side -f -"))
def print_crds() -> None:
    """Print the CRDs as YAML."""
    click.echo(
        yaml.safe_dump_all([custom_resource(kind) for kind in KINDS], sort_keys=False, allow_unicode=True), nl=False
    )


@crds.command("apply", epilog=_example("switchtender-operator crds apply --context test"))
@_kubeconfig
@_context
def apply_crds(kubeconfig: str | None, context: str | None) -> None:
    """Create missing CRDs and upgrade those of an older revision; newer ones are left alone."""
    from switchtender_operator.publish import crds as definitions

    _with_client(kubeconfig, context, definitions.apply_all)


@crds.command("delete", epilog=_example("switchtender-operator crds delete --yes"))
@_kubeconfig
@_context
@click.confirmation_option(prompt="This deletes every BalancerGroup and DestinationSet of the cluster. Go on?")
def delete_crds(kubeconfig: str | None, context: str | None) -> None:
    """Delete the CRDs, and with them every BalancerGroup and DestinationSet of the cluster."""
    from switchtender_operator.publish import crds as definitions

    _with_client(kubeconfig, context, definitions.delete_all)


def _settings(pod_name: str | None, given: dict[str, Any]) -> Settings:
    """Return the settings of the options. Raises SettingsError."""
    namespace = given.pop("namespace") or _pod_namespace()
    if namespace is None:
        raise SettingsError("--namespace: needed outside a pod")
    return Settings(
        namespace=namespace,
        identity=given.pop("identity") or unique_identity(pod_name),
        watch_namespaces=names(given.pop("watch_namespaces")),
        esl_secret_names=frozenset(names(given.pop("esl_secret_names"))),
        ensure_crds=given.pop("crds"),
        autoscale_targets=scalable_kinds(given.pop("autoscale_targets")),
        **given,
    )


def _pod_namespace() -> str | None:
    try:
        return _NAMESPACE_FILE.read_text().strip() or None
    except OSError:
        return None


def _with_client(
    kubeconfig: str | None, context: str | None, work: Callable[[Client], Awaitable[Sequence[str]]]
) -> None:
    """Do the work with a client of the API server and print the lines it returns."""
    from switchtender_kube import ApiError, Client, ConfigurationError, Unreachable
    from switchtender_operator.publish.crds import NotEstablishedError

    async def connected() -> Sequence[str]:
        client = await Client.connect(kubeconfig=kubeconfig, context=context)
        try:
            return await work(client)
        finally:
            await client.close()

    try:
        for line in asyncio.run(connected()):
            click.echo(line)
    except (ApiError, Unreachable, ConfigurationError, NotEstablishedError) as error:
        _fail(str(error))


def _fail(message: str) -> NoReturn:
    click.echo(f"switchtender-operator: {message}", err=True)
    sys.exit(ExitStatus.FAILED)

"""``switchtender serve``: the balancer as a process, and in one line why it could not start."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import click

from switchtender.cli.exits import fail, unwell
from switchtender.cli.options import examples
from switchtender_api.exit_status import ExitStatus

if TYPE_CHECKING:
    from switchtender_api.problems import DocumentErrors

POD_CONFIG = "/etc/switchtender/balancer.yaml"


@click.command(epilog=examples("switchtender serve --config balancer.yaml --log-format console"))
@click.option(
    "--config",
    "config",
    type=click.Path(path_type=Path, dir_okay=False),
    help="YAML file with one BalancerConfig and its BalancerGroups. Read again when it changes, and on SIGHUP. With "
    f"--kubernetes: with the BalancerConfig alone, {POD_CONFIG} by default.",
)
@click.option("--kubernetes", is_flag=True, help="Groups, nodes and passwords come from the API server.")
@click.option(
    "--watch-namespaces",
    envvar="SWITCHTENDER_WATCH_NAMESPACES",
    default="",
    metavar="NAME,NAME",
    help="Namespaces whose groups are served; all of them if empty.",
)
@click.option(
    "--keys-secret",
    envvar="SWITCHTENDER_KEYS_SECRET",
    help="Secret with the keys of the Record-Route token, shared by all replicas.",
)
@click.option(
    "--token-secret", envvar="SWITCHTENDER_TOKEN_SECRET", help="Secret with the operator's token for /api/v1/state."
)
@click.option("--namespace", envvar="POD_NAMESPACE", help="The balancer's own namespace, where these Secrets are.")
@click.option("--kubeconfig", help="File that says where the API server is, outside a pod.")
@click.option(
    "--log-format", type=click.Choice(["json", "console"]), default="json", show_default=True, help="Form of logs."
)
@click.option(
    "--log-level",
    type=click.Choice(["debug", "info", "warning", "error"]),
    default="info",
    show_default=True,
    help="Least level logged.",
)
def serve(
    config: Path | None,
    kubernetes: bool,  # noqa: FBT001 - a flag of the command line
    watch_namespaces: str,
    keys_secret: str | None,
    token_secret: str | None,
    namespace: str | None,
    kubeconfig: str | None,
    log_format: str,
    log_level: str,
) -> None:
    """Run the balancer on a configuration file, or in Kubernetes.

    SIGTERM and SIGINT stop it gracefully: calls in set-up are finished, established calls go on without it. A second
    signal ends it at once.
    """
    import asyncio

    from switchtender._core import BindError, ConfigError, CoreStopped
    from switchtender.cli import logs
    from switchtender.cli.failures import bind_failure, core_refusal, http_bind_failure
    from switchtender.config.state_dir import StateDirCorruptError, StateDirInUseError
    from switchtender.http.listen import HttpBindError
    from switchtender.serve.lifetime import ServeError
    from switchtender.serve.server import Server
    from switchtender_api.problems import DocumentErrors

    if config is None and not kubernetes:
        raise click.UsageError("give --config FILE, or --kubernetes")
    logs.configure(log_format, log_level)
    try:
        if config is not None and not kubernetes:
            asyncio.run(Server(config).run())
        else:
            _serve_kubernetes(
                config=config or Path(POD_CONFIG),
                watch_namespaces=tuple(name.strip() for name in watch_namespaces.split(",") if name.strip()),
                keys_secret=keys_secret or None,
                token_secret=token_secret or None,
                namespace=namespace or None,
                kubeconfig=kubeconfig,
            )
    except DocumentErrors as errors:
        _refuse(errors)
    except BindError as error:
        fail(bind_failure(error))
    except HttpBindError as error:
        fail(http_bind_failure(error))
    except ConfigError as error:
        fail(core_refusal(error))
    except (StateDirInUseError, StateDirCorruptError, CoreStopped, OSError) as error:
        fail(str(error))
    except ServeError:
        unwell()  # the log says why


def _serve_kubernetes(**options: Any) -> None:
    import asyncio

    from switchtender.serve.kubernetes import KubernetesServer, Options
    from switchtender_kube import ConfigurationError

    try:
        asyncio.run(KubernetesServer(Options(**options)).run())
    except ConfigurationError as error:
        fail(str(error))


def _refuse(errors: DocumentErrors) -> NoReturn:
    for problem in errors.problems:
        click.echo(problem.render(), err=True)
    sys.exit(ExitStatus.FAILED)

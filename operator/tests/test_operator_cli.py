"""The command line: flags, environment, help, and what the CRDs commands do."""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner, Result
from operator_stand import serving

from switchtender_api.crd import KINDS, custom_resource
from switchtender_operator import app, cli
from switchtender_operator.config.settings import Settings, SettingsError, names, unique_identity


@pytest.fixture
def given(monkeypatch: pytest.MonkeyPatch) -> list[Settings]:
    """What `run` was told, instead of running."""
    found: list[Settings] = []

    async def noted(settings: Settings) -> bool:
        found.append(settings)
        return True

    monkeypatch.setattr(app, "run_operator", noted)
    monkeypatch.setattr(cli.logs, "configure", lambda *_: None)
    monkeypatch.setattr(cli, "_NAMESPACE_FILE", Path("/nowhere"))
    for name in ("KUBECONFIG", "POD_NAME", "POD_NAMESPACE"):
        monkeypatch.delenv(name, raising=False)
    return found


def invoke(*arguments: str, **environment: str) -> Result:
    return CliRunner().invoke(cli.main, list(arguments), env=environment)


def test_defaults(given: list[Settings]) -> None:
    assert invoke("run", "--namespace", "st").exit_code == 0
    (settings,) = given
    assert settings.scopes == (None,)
    assert settings.leader_election
    assert settings.ensure_crds
    assert settings.esl_secret_names == {"esl"}
    assert settings.http_port == 8081


def test_every_flag_has_a_variable(given: list[Settings]) -> None:
    environment = {
        "SWITCHTENDER_WATCH_NAMESPACES": "a, b,a",
        "POD_NAMESPACE": "st",
        "POD_NAME": "operator-0",
        "SWITCHTENDER_LEASE_NAME": "lease",
        "SWITCHTENDER_LEASE_DURATION": "30",
        "SWITCHTENDER_LEADER_ELECTION": "false",
        "SWITCHTENDER_ESL_SECRET_NAMES": "one,two",
        "SWITCHTENDER_CRDS": "false",
        "SWITCHTENDER_HTTP_ADDRESS": "127.0.0.1",
        "SWITCHTENDER_HTTP_PORT": "9",
        "SWITCHTENDER_KUBECONFIG": "/k",
        "SWITCHTENDER_CONTEXT": "c",
        "SWITCHTENDER_WRITE_QPS": "5",
        "SWITCHTENDER_WRITE_BURST": "6",
    }
    assert invoke("run", **environment).exit_code == 0
    (settings,) = given
    assert settings.watch_namespaces == settings.scopes == ("a", "b")
    assert (settings.namespace, settings.lease_name, settings.lease_duration) == ("st", "lease", 30.0)
    assert settings.identity.startswith("operator-0_")
    assert not settings.leader_election
    assert not settings.ensure_crds
    assert settings.esl_secret_names == {"one", "two"}
    assert (settings.http_address, settings.http_port) == ("127.0.0.1", 9)
    assert (settings.kubeconfig, settings.context) == ("/k", "c")
    assert (settings.write_qps, settings.write_burst) == (5.0, 6)


def test_in_a_pod_the_namespace_is_the_pods(
    given: list[Settings], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "namespace"
    file.write_text("telephony\n")
    monkeypatch.setattr(cli, "_NAMESPACE_FILE", file)
    assert invoke("run").exit_code == 0
    assert given[0].namespace == "telephony"


@pytest.mark.usefixtures("given")
@pytest.mark.parametrize(
    ("flags", "words"),
    [
        ([], "--namespace"),
        (["--namespace", "st", "--esl-secret-names", "Bad"], "--esl-secret-names"),
        (["--namespace", "st", "--lease-name", "-"], "--lease-name"),
        (["--namespace", "st", "--http-port", "70000"], "--http-port"),
        (["--namespace", "st", "--lease-duration", "1"], "--lease-duration"),
        (["--namespace", "st", "--write-qps", "0"], "--write-qps"),
    ],
)
def test_what_cannot_be_is_refused_with_its_flag(flags: list[str], words: str) -> None:
    result = invoke("run", *flags)
    assert result.exit_code == 2
    assert words in result.output


def test_a_failure_while_running_is_1(monkeypatch: pytest.MonkeyPatch, given: list[Settings]) -> None:
    async def failed(settings: Settings) -> bool:
        given.append(settings)
        return False

    monkeypatch.setattr(app, "run_operator", failed)
    assert invoke("run", "--namespace", "st").exit_code == 1


def test_help_explains_every_option() -> None:
    for command in ([], ["run"], ["crds"], ["crds", "apply"], ["crds", "delete"], ["crds", "print"]):
        assert invoke(*command, "--help").exit_code == 0
    for parameter in cli.run.params:
        assert getattr(parameter, "hidden", False) or getattr(parameter, "help", None), parameter.name


def test_version() -> None:
    assert version("switchtender-operator") in invoke("--version").output


def test_crds_are_printed_as_they_are() -> None:
    documents: list[Any] = list(yaml.safe_load_all(invoke("crds", "print").output))
    assert documents == [custom_resource(kind) for kind in KINDS]


async def test_crds_are_applied_and_deleted(tmp_path: Path) -> None:
    import asyncio

    async with serving(own=False) as api:
        kubeconfig = str(api.kubeconfig(tmp_path / "kubeconfig"))

        async def command(*arguments: str) -> Result:
            return await asyncio.to_thread(invoke, "crds", *arguments, "--kubeconfig", kubeconfig)

        applied = await command("apply")
        assert applied.exit_code == 0
        assert applied.output.count("created") == 2
        assert (await command("apply")).output.count("kept") == 2
        assert (await command("delete")).exit_code != 0  # nobody said yes
        assert len(api.objects("customresourcedefinitions")) == 2
        assert (await command("delete", "--yes")).exit_code == 0
        assert api.objects("customresourcedefinitions") == []
        api.fail("customresourcedefinitions", None, 403, message="not for you")
        refused = await command("apply")
        assert refused.exit_code == 2
        assert "not for you" in refused.output


def test_lists_of_names() -> None:
    assert names("") == ()
    assert names(" a ,b,, a") == ("a", "b")


def test_identities_differ() -> None:
    assert unique_identity("pod") != unique_identity("pod")
    assert unique_identity(None)


def test_an_identity_is_needed() -> None:
    with pytest.raises(SettingsError, match="--identity"):
        Settings(namespace="st", identity="")

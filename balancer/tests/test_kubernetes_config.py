"""What a balancer in a pod reads: its configuration with the pod's words filled in, passwords, the last snapshot."""

import base64
import json

import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st
from kubernetes_stand import head, key_file, member, slice_of
from test_kubernetes_assembly import assembled_now, seen

from switchtender.cli.main import main
from switchtender.config import last_good
from switchtender.config.destination_sets import seen_set
from switchtender.config.pod_config import make_config, services_named, with_services
from switchtender.config.state_dir import KeysUnreadableError, StateDir, TokenKey, parse_keys, succeeding
from switchtender.control.passwords import Passwords, SecretKey, decoded
from switchtender_api.problems import DocumentErrors

CONFIG = """\
apiVersion: switchtender.dev/v1alpha1
kind: BalancerConfig
metadata: {name: default}
spec:
  listeners: [{address: $(POD_IP)}]
  nodeSide: {address: $(HOST_IP), advertise: [{service: nodes, networks: %s}, {host: 192.0.2.7}]}
"""
POD = {"POD_IP": "10.0.0.5", "HOST_IP": "fd00::5", "POD_NAME": "st-0", "POD_NAMESPACE": "sip"}


def read(text=CONFIG % "[]", **environ):
    return make_config(text, "balancer.yaml", environ=POD | environ)


def refused(text, environ=POD):
    with pytest.raises(DocumentErrors) as caught:
        make_config(text, "balancer.yaml", environ=environ)
    return str(caught.value)


def test_the_pods_own_words_are_filled_in():
    spec = read().config.spec
    assert str(spec.listeners[0].address) == "10.0.0.5"
    assert str(spec.node_side.address) == "fd00::5"


def test_any_other_word_is_refused_by_its_name_and_line():
    text = refused(CONFIG % "[]" + "  stateDir: /var/$(HOME)/$()\n")
    assert 'balancer.yaml:7: not known here; found "$(HOME)"; accepted: $(POD_IP), $(HOST_IP)' in text
    assert 'found "$()"' in text


def test_a_word_that_is_not_set_is_refused():
    assert "POD_IP is not set" in refused(CONFIG % "[]", {"HOST_IP": "10.0.0.1"})


@pytest.mark.parametrize("value", ["", "10.0.0.1\nspec: {}", "{a: b}", "a b", "#"])
def test_nothing_but_a_name_or_an_address_gets_into_the_text(value):
    assert "POD_IP holds neither" in refused(CONFIG % "[]", {**POD, "POD_IP": value})


def test_groups_do_not_stand_in_the_file():
    group = (
        "---\napiVersion: switchtender.dev/v1alpha1\nkind: BalancerGroup\nmetadata: {name: ivr}\n"
        "spec: {members: {static: [{name: a, sip: 'sip:192.0.2.1'}]}}\n"
    )
    assert "kubectl apply" in refused(CONFIG % "[]" + group)


@pytest.mark.parametrize(("networks", "host"), [
    ("[]", "10.96.7.7"), ("[10.0.0.0/8]", "10.96.7.7"), ('["fd00::/8"]', "fd00::7"),
])  # fmt: skip
def test_a_service_is_advertised_by_its_address_in_the_family_of_the_nodes(networks, host):
    documents = read(CONFIG % networks)
    assert services_named(documents) == {"nodes"}
    advertise = with_services(documents, {"nodes": ("10.96.7.7", "fd00::7")}).config.spec.node_side.advertise
    assert [(entry.host, entry.service) for entry in advertise] == [(host, None), ("192.0.2.7", None)]


def test_a_single_family_is_better_than_none():
    documents = with_services(read(CONFIG % '["fd00::/8"]'), {"nodes": ("10.96.7.7",)})
    assert documents.config.spec.node_side.advertise[0].host == "10.96.7.7"


def test_a_balancer_without_a_node_side_names_no_service():
    documents = read("\n".join((CONFIG % "[]").splitlines()[:-1]))
    assert services_named(documents) == frozenset()
    assert with_services(documents, {}) == documents


@pytest.mark.parametrize(("environ", "status"), [({}, 0), ({"POD_IP": "nonsense !"}, 1)])
def test_check_reads_it_outside_a_pod(tmp_path, environ, status, monkeypatch):
    for name in POD:
        monkeypatch.delenv(name, raising=False)
    file = tmp_path / "balancer.yaml"
    file.write_text(CONFIG % "[]")
    result = CliRunner().invoke(main, ["check", "--kubernetes", str(file)], env=environ)
    assert result.exit_code == status, result.output


def test_a_file_for_kubernetes_is_refused_without_kubernetes(tmp_path):
    file = tmp_path / "balancer.yaml"
    file.write_text((CONFIG % "[]").replace("$(POD_IP)", "10.0.0.1").replace("$(HOST_IP)", "10.0.0.1"))
    result = CliRunner().invoke(main, ["check", str(file)])
    assert result.exit_code == 1
    assert "spec.nodeSide.advertise[0].service: only in Kubernetes" in result.output


def test_serve_wants_a_file_or_a_cluster():
    result = CliRunner().invoke(main, ["serve"])
    assert result.exit_code == 2
    assert "--kubernetes" in result.output


# Passwords


KEY = SecretKey("voice", "esl", "password")


def data(value):
    return {"password": base64.b64encode(value).decode()}


@pytest.mark.parametrize(("written", "password"), [
    (b"ClueCon", "ClueCon"), (b"ClueCon\n", "ClueCon"), (b"ClueCon\r\n", "ClueCon"), (b" a b ", " a b "),
    ("pässwörd".encode(), "pässwörd"),
])  # fmt: skip
def test_one_trailing_newline_is_not_meant(written, password):
    assert decoded(data(written), "password").get_secret_value() == password


@pytest.mark.parametrize("written", [b"a\n\n", b"a\nb", b"a\x00b", b"\n", b"", b"\xff"])
def test_what_is_no_password_is_said_in_words(written):
    assert isinstance(decoded(data(written), "password"), str)


@settings(deadline=None)
@given(st.binary(min_size=4, max_size=40))
def test_no_words_hold_what_the_secret_holds(value):
    for raw in (base64.b64encode(value).decode(), value.decode("latin-1")):
        found = decoded({"password": raw}, "password")
        assert not isinstance(found, str) or raw not in found


def test_a_password_once_known_stays_known(caplog):
    passwords = Passwords()
    assert passwords.learn(KEY, None) is None
    assert passwords.learn(KEY, {}) is None
    assert passwords.learn(KEY, data(b"one")).get_secret_value() == "one"
    assert passwords.learn(KEY, data(b"two")).get_secret_value() == "two"
    for gone in (None, {}, data(b"\xff"), data(b"\xff")):
        assert passwords.learn(KEY, gone).get_secret_value() == "two"
    said = [record.getMessage() for record in caplog.records]
    assert len(said) == 3, "each thing once"
    assert not any(word == "one" or word == "two" for text in said for word in text.split())


# The last good snapshot


def test_a_snapshot_is_read_as_it_was_written():
    assembly = assembled_now(
        seen(head("ivr", member("fs-0", "10.0.1.1"), policy={"routing": {"algorithm": "RoundRobin"}})),
        seen(slice_of("ivr", 2, member("fs-1", "10.0.1.2"))),
    )
    documents = [each.document() for each in assembly.acts_on]
    services = {"nodes": ("10.96.7.7",)}
    again = last_good.parse(last_good.dump(documents, services, 12.5).encode())
    assert (again.services, again.saved_at) == (services, 12.5)
    assert assembled_now(*again.sets).groups == assembly.groups


@pytest.mark.parametrize("text", [
    b"", b"{", b"[]", b"7", b'"x"', b"null", b'{"format": 1}', b'{"format": 2, "sets": []}', b"\xff" * 9,
    b"[" * 100_000, b'{"format":1,"sets":{},"services":7,"savedAt":1}',
])  # fmt: skip
def test_what_is_no_snapshot_is_refused(text):
    with pytest.raises(last_good.LastGoodUnreadableError):
        last_good.parse(text)


@settings(deadline=None)
@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(),
        lambda each: st.lists(each) | st.dictionaries(st.text(), each),
    )
)
def test_an_object_of_any_shape_is_a_set_or_none(value):
    for raw in (
        {"metadata": value, "spec": value},
        {"metadata": {"namespace": "a", "name": "b", "uid": "c"}, "spec": value},
    ):
        found = seen_set(raw)
        assert found is None or found.problem is not None


# stateDir with shared keys


def test_shared_keys_are_kept_and_none_are_made(tmp_path):
    first = StateDir(tmp_path / "state", shared=True)
    assert first.keys == ()
    secret = base64.b64encode(bytes(64)).decode()
    keys = parse_keys(json.dumps({"format": 1, "keys": [{"id": 3, "secret": secret}]}).encode())
    first.keep_keys(keys)
    first.close()
    second = StateDir(tmp_path / "state", shared=True)
    assert second.keys == keys
    second.close()


def test_more_keys_than_the_packet_core_takes_are_refused():
    assert len(parse_keys(key_file(*range(1, 17)).encode())) == 16
    with pytest.raises(KeysUnreadableError, match="17 keys"):
        parse_keys(key_file(*range(1, 18)).encode())


def test_nothing_of_a_key_file_stands_in_what_is_said_of_it():
    text = json.dumps({**json.loads(key_file(1)), "format": "c2VjcmV0"})
    with pytest.raises(KeysUnreadableError, match="another format than 1") as refused:
        parse_keys(text.encode())
    assert "c2VjcmV0" not in str(refused.value)


@pytest.mark.parametrize(("told", "before", "kept"), [
    ((2,), (), (2,)), ((2, 1), (1,), (2, 1)), ((1,), (2, 1), (1,)), ((3,), (2, 1), (3, 2, 1)),
    ((17,), range(1, 17), (17, *range(1, 16))),
])  # fmt: skip
def test_keys_of_a_secret_that_was_made_anew_come_before_those_known(told, before, kept):
    def keys(ids):
        return parse_keys(key_file(*ids).encode()) if ids else ()

    assert succeeding(keys(told), keys(before)) == keys(kept)


def test_of_two_keys_with_one_id_the_new_one_is_kept():
    new = TokenKey(1, bytes(64))
    assert succeeding((new,), parse_keys(key_file(1).encode())) == (new,)


def test_a_copy_that_cannot_be_read_is_left_aside(tmp_path, caplog):
    (tmp_path / "keys.json").write_text("{")
    state_dir = StateDir(tmp_path, shared=True)
    assert state_dir.keys == ()
    assert "left aside" in caplog.text
    state_dir.close()


def test_a_directory_that_cannot_be_written_costs_a_warning(tmp_path, caplog):
    (tmp_path / "file").write_text("")
    state_dir = StateDir(tmp_path / "file" / "state", shared=True)
    state_dir.keep_keys(())
    assert state_dir.read("sets.json") is None
    assert "nothing is kept" in caplog.text

"""Custom resources from the models, rule by rule. What a real API server says of them is tested end to end."""

from __future__ import annotations

import inspect
import json
import re
from datetime import timedelta
from typing import Annotated, Literal

import pytest
from pydantic import BaseModel, Field
from pydantic.json_schema import GenerateJsonSchema

from switchtender_api.constants import CRD_REVISION
from switchtender_api.crd import KINDS, custom_resource, structural
from switchtender_api.status import CONDITIONS, REASONS
from switchtender_api.v1alpha1 import capacity, egress, group, health, match, members, passwords, routing
from switchtender_api.v1alpha1.base import Model
from switchtender_api.v1alpha1.cel import RULES, cel, cel_text, rules
from switchtender_api.v1alpha1.units import Duration, Network, Text, Time, Unique, Whole

# https://yaml.org/type/bool.html and https://yaml.org/type/null.html
YAML_WORDS = {"y", "n", "yes", "no", "on", "off", "true", "false", "null", "~"}


class Inner(Model):
    """Something within."""

    size: int = Field(3, description="Its size.")


def made(strict=True, **fields):
    """The structural schema of a model with these fields."""
    annotations = {name: annotation for name, (annotation, _) in fields.items()}
    body = {"__annotations__": annotations, "__module__": __name__, "__doc__": "A model."}
    body |= {name: default for name, (_, default) in fields.items()}
    schema = type("Sample", (Model,), body).model_json_schema(by_alias=True, schema_generator=GenerateJsonSchema)
    return structural(schema, schema.get("$defs", {}), strict=strict)


def field(annotation, default=..., strict=True, **extra):
    """The structural schema of one field."""
    schema = made(strict=strict, a_field=(annotation, Field(default, description="A field.", **extra)))
    return schema["properties"]["aField"]


def test_an_object_loses_its_title_and_its_closure():
    schema = made(a_field=(int, Field(description="A field.")))
    assert schema == {
        "description": "A model.",
        "type": "object",
        "properties": {"aField": {"description": "A field.", "type": "integer"}},
        "required": ["aField"],
    }


def test_a_reference_is_inlined_and_the_description_of_the_field_stands():
    inner = {"type": "object", "properties": {"size": {"description": "Its size. Default: 3.", "type": "integer"}}}
    assert field(Inner) == {"description": "A field.", **inner}
    assert field(Inner, Inner()) == {"description": "A field.", **inner}
    listed = {"description": "Something within.", **inner}
    expected = {"type": "array", "items": listed, "x-kubernetes-list-type": "atomic"}
    assert field(tuple[Inner, ...]) == {"description": "A field.", **expected}


def test_null_is_allowed_where_the_model_takes_it():
    assert field(int | None, None) == {"description": "A field.", "type": "integer", "nullable": True}
    assert field(Inner | None, None)["nullable"] is True
    assert "nullable" not in field(int, 1)


def test_a_choice_is_an_enum_and_a_constant_is_one_too():
    assert field(Literal["One", "Two"])["enum"] == ["One", "Two"]
    assert field(Literal["One"]) == {"description": "A field.", "type": "string", "enum": ["One"]}


def test_a_choice_that_may_be_null_is_a_rule():
    schema = field(Literal["One", "Two"] | None, None)
    assert schema == {
        "description": "A field. Values: One, Two.",
        "type": "string",
        "nullable": True,
        "maxLength": 64,
        RULES: [{"rule": 'self in ["One", "Two"]', "message": "One or Two"}],
    }


def test_exclusive_bounds_of_whole_numbers_are_inclusive_ones():
    schema = field(int, gt=0, lt=10)
    assert (schema["minimum"], schema["maximum"]) == (1, 9)
    assert not {"exclusiveMinimum", "exclusiveMaximum"} & set(schema)
    with pytest.raises(ValueError, match="exclusive bound of a fraction"):
        field(float, gt=0)


def test_lists_are_bounded_and_say_how_they_merge():
    assert field(tuple[str, ...], (), max_length=3, min_length=1) == {
        "description": "A field.",
        "type": "array",
        "items": {"type": "string"},
        "minItems": 1,
        "maxItems": 3,
        "x-kubernetes-list-type": "atomic",
    }
    assert field(Annotated[tuple[str, ...], Unique("word")])["x-kubernetes-list-type"] == "set"
    by_size = field(Annotated[tuple[Inner, ...], Unique("thing", by="size")])
    assert by_size["x-kubernetes-list-type"] == "map"
    assert by_size["x-kubernetes-list-map-keys"] == ["size"]


def test_a_list_whose_entries_differ_by_place_has_no_structural_form():
    with pytest.raises(ValueError, match="differ by place"):
        field(tuple[int, str])


def test_a_union_has_no_structural_form():
    with pytest.raises(ValueError, match="no structural form"):
        field(int | str)


def test_a_map_keeps_its_values_and_its_bound():
    text = Text(r"^[a-z]*$", "letters", 63)
    schema = field(dict[Annotated[str, text], Annotated[str, text]], max_length=4)
    assert (schema["type"], schema["maxProperties"], schema["additionalProperties"]["maxLength"]) == ("object", 4, 63)
    assert not {"patternProperties", "propertyNames"} & set(schema)


def test_a_number_or_the_word_auto():
    schema = field(Annotated[int | Literal["Auto"], Whole(0, 5, auto=True)], "Auto")
    assert schema == {
        "description": "A field. Default: Auto.",
        "x-kubernetes-int-or-string": True,
        "maxLength": 4,
        RULES: [
            {
                "rule": "type(self) == int ? self >= 0 && self <= 5 : self == 'Auto'",
                "message": "Auto or a whole number from 0 to 5",
            }
        ],
    }


def test_a_pattern_is_a_rule_with_a_message():
    schema = field(Annotated[str, Text(r"^[a-z]+$", "lower-case letters", 9)])
    assert "pattern" not in schema
    assert schema["maxLength"] == 9
    assert schema[RULES] == [{"rule": "self.matches(r'^[a-z]+$')", "message": "lower-case letters"}]


def test_what_may_hold_a_password_is_not_judged_by_itself():
    schema = field(Annotated[str, Text(r"^[a-z]+$", "lower-case letters", 9, secret=True)])
    assert not {"pattern", RULES} & set(schema)


def test_durations_networks_and_times():
    duration = field(Annotated[timedelta, Duration("1s", "1m")])
    (rule,) = duration[RULES]
    assert "duration(self) >= duration('1s') && duration(self) <= duration('1m')" in rule["rule"]
    assert rule["message"] == "a duration from 1s to 1m, such as 500ms, 2s or 1h30m"
    assert duration["maxLength"] == 40
    assert "isCIDR(self)" in field(Network)[RULES][0]["rule"]
    assert field(Time)["format"] == "date-time"


def test_defaults_are_told_and_not_written():
    assert field(int, 5) == {"description": "A field. Default: 5.", "type": "integer"}
    assert field(tuple[str, ...], ("a", "b"))["description"] == 'A field. Default: ["a", "b"].'
    assert field(bool, False)["description"] == "A field. Default: false."
    for nothing in (None, (), Inner()):
        kind = {type(None): int | None, tuple: tuple[int, ...], Inner: Inner}[type(nothing)]
        assert field(kind, nothing)["description"] == "A field."


def test_by_shape_alone_values_are_free_and_unknown_fields_stay():
    schema = field(Literal["One", "Two"], strict=False)
    assert schema == {"description": "A field. Values: One, Two.", "type": "string", "maxLength": 64}
    assert field(Annotated[int, Whole(1, 5)], strict=False) == {"description": "A field.", "type": "integer"}
    assert RULES not in field(Network, strict=False)
    word = field(Annotated[int | Literal["Auto"], Whole(0, 5, auto=True)], "Auto", strict=False)
    assert (word["x-kubernetes-int-or-string"], word["maxLength"]) == (True, 64)
    listed = field(Annotated[tuple[Inner, ...], Unique("thing", by="size")], strict=False, max_length=3)
    assert (listed["x-kubernetes-list-type"], listed["maxItems"]) == ("atomic", 3)
    assert "x-kubernetes-list-map-keys" not in listed
    assert listed["items"]["x-kubernetes-preserve-unknown-fields"] is True
    assert made(strict=False, a_field=(int, 1))["x-kubernetes-preserve-unknown-fields"] is True


def test_several_rules_are_one_extension():
    both = rules(cel("true", "never"), cel("has(self.a)", "a is missing", "a"))
    assert both == {
        RULES: [
            {"rule": "true", "message": "never"},
            {"rule": "has(self.a)", "message": "a is missing", "fieldPath": ".a"},
        ]
    }


def test_a_pattern_with_a_quote_has_no_literal():
    assert cel_text(r"^\d$") == r"r'^\d$'"
    with pytest.raises(ValueError, match="quote"):
        cel_text("'")


# --- the definitions themselves -------------------------------------------------------------------------------------


def root(kind):
    return custom_resource(kind)["spec"]["versions"][0]["schema"]["openAPIV3Schema"]


def nodes(schema, path=""):
    """Every schema within, by its path."""
    yield path, schema
    for name, inner in schema.get("properties", {}).items():
        yield from nodes(inner, f"{path}.{name}")
    for part, mark in (("items", "[]"), ("additionalProperties", "{}")):
        if part in schema:
            yield from nodes(schema[part], path + mark)


def own(kind):
    """Every schema of ours: all but those that Kubernetes itself defines."""
    return [(path, node) for path, node in nodes(root(kind)) if path not in (".apiVersion", ".kind", ".metadata")]


@pytest.mark.parametrize("kind", KINDS)
def test_every_field_is_described(kind):
    seen = [(path, node) for path, node in own(kind) if not path.endswith(("[]", "{}"))]
    assert len(seen) > 60
    for path, node in seen:
        assert node.get("description", "").endswith("."), path


@pytest.mark.parametrize("kind", KINDS)
def test_every_text_list_and_map_is_bounded(kind):
    """Or the API server cannot tell what a rule costs, and refuses the definition."""
    for path, node in own(kind):
        if node.get("type") == "string":
            assert {"maxLength", "enum"} & set(node), path
        if node.get("type") == "array":
            assert "maxItems" in node, path
        if "additionalProperties" in node:
            assert "maxProperties" in node, path


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_is_left_that_a_structural_schema_may_not_have(kind):
    forbidden = {
        "$ref",
        "$defs",
        "title",
        "const",
        "anyOf",
        "oneOf",
        "allOf",
        "prefixItems",
        "pattern",
        "propertyNames",
    }
    for path, node in nodes(root(kind)):
        assert not forbidden & set(node), path
        assert node.get("additionalProperties") is not False, path
        assert ("type" in node) != ("x-kubernetes-int-or-string" in node), path


@pytest.mark.parametrize("kind", KINDS)
def test_no_value_is_a_yaml_word(kind):
    text = json.dumps(root(kind))
    values = {value for _, node in nodes(root(kind)) for value in node.get("enum", ())}
    values |= {word for found in re.findall(r"self in \[(.*?)\]", text) for word in re.findall(r"\w+", found)}
    assert not {value for value in values if value.lower() in YAML_WORDS} - {"True", "False"}


def test_no_condition_or_reason_is_a_yaml_word_and_all_are_explained():
    assert set(CONDITIONS) == set(REASONS)
    for condition, reasons in REASONS.items():
        assert CONDITIONS[condition].endswith(".")
        for reason, meaning in reasons.items():
            assert re.fullmatch(r"[A-Z][A-Za-z]+", reason), reason
            assert reason.lower() not in YAML_WORDS
            assert meaning.endswith("."), reason


def test_lists_that_authors_share_merge_by_name():
    schemas = dict(nodes(root("BalancerGroup")))
    keys = {path: schemas[path].get("x-kubernetes-list-map-keys") for path in schemas if path.endswith(("s", "static"))}
    assert {path: key for path, key in keys.items() if key} == {
        ".spec.members.static": ["name"],
        ".spec.members.static[].resources": ["name"],
        ".spec.capacity.resources": ["name"],
        ".status.conditions": ["type"],
    }
    for path, key in keys.items():
        if key:
            assert key[0] in schemas[f"{path}[]"]["required"]


def test_a_set_is_written_whole_and_a_group_field_by_field():
    """Server-side apply leaves to its author what another one added within an object, unless the object is atomic."""
    schemas = {kind: dict(nodes(root(kind))) for kind in KINDS}
    assert [path for path, node in schemas["DestinationSet"].items() if "x-kubernetes-map-type" in node] == [".spec"]
    assert schemas["DestinationSet"][".spec"]["x-kubernetes-map-type"] == "atomic"
    assert not [path for path, node in schemas["BalancerGroup"].items() if "x-kubernetes-map-type" in node]


def test_only_two_fields_have_a_default_in_the_definition():
    defaults = {path: node["default"] for path, node in nodes(root("BalancerGroup")) if "default" in node}
    assert defaults == {".spec.balancer": "default", ".spec.routing": {}, ".spec.routing.algorithm": "LeastLoad"}
    assert not [path for path, node in nodes(root("DestinationSet")) if "default" in node]


def test_a_set_holds_the_policy_of_a_group_and_judges_none_of_it():
    whole, policy = dict(nodes(root("BalancerGroup"))), dict(nodes(root("DestinationSet")))
    expected = {
        path
        for path in whole
        if path.startswith(".spec.") and not path.startswith((".spec.members", ".spec.autoscale"))
    }
    assert {path.replace(".spec.policy", ".spec", 1) for path in policy if path.startswith(".spec.policy.")} == expected
    judged = {"enum", RULES, "minimum", "maximum", "minItems", "minLength", "format"}
    assert not [path for path, node in policy.items() if judged & set(node)]


def test_every_check_over_several_fields_has_a_rule_beside_it():
    """A model that checks its fields together says the same to the API server."""
    checked = [
        model
        for module in (capacity, egress, group, health, match, members, passwords, routing)
        for model in vars(module).values()
        if inspect.isclass(model) and issubclass(model, BaseModel) and model.__module__ == module.__name__
        if model.__pydantic_decorators__.model_validators
    ]
    assert len(checked) >= 13
    for model in checked:
        assert model.model_json_schema()[RULES], model.__name__


def test_every_rule_over_documents_that_one_group_can_show_is_a_rule_of_the_definition():
    text = json.dumps(root("BalancerGroup"))
    for message in (
        "a group cannot spill into itself",
        "a rule names a resource that is not in capacity.resources",
        "need a password",
        "immutable",
        "in Kubernetes a password comes from a Secret only",
        "calls cannot leave to the nodes that they come from",
        "mode Stateless: algorithm",
        "mode Stateless: routing.hashOn.type",
        "mode Stateless: capacity.queue.maxWait",
    ):
        assert message in text


@pytest.mark.parametrize("kind", KINDS)
def test_rules_have_messages_for_a_person(kind):
    found = [rule for _, node in nodes(root(kind)) for rule in node.get(RULES, ())]
    assert bool(found) == (kind == "BalancerGroup")
    for rule in found:
        assert rule["message"] == rule["message"].strip()
        assert 5 < len(rule["message"]) < 2048
        assert "\n" not in rule["rule"]


@pytest.mark.parametrize(
    ("kind", "name", "short"),
    [("BalancerGroup", "balancergroups", "bg"), ("DestinationSet", "destinationsets", "dset")],
)
def test_a_definition_says_what_it_defines(kind, name, short):
    definition = custom_resource(kind)
    assert definition["metadata"]["name"] == f"{name}.switchtender.dev"
    assert definition["metadata"]["annotations"] == {"switchtender.dev/crd-revision": str(CRD_REVISION)}
    assert definition["spec"]["scope"] == "Namespaced"
    assert definition["spec"]["names"]["shortNames"] == [short]
    assert "switchtender" in definition["spec"]["names"]["categories"]
    (version,) = definition["spec"]["versions"]
    assert (version["name"], version["served"], version["storage"]) == ("v1alpha1", True, True)
    assert version.get("subresources") == ({"status": {}} if kind == "BalancerGroup" else None)


def test_columns_show_fields_that_exist():
    for kind in KINDS:
        schemas = dict(nodes(root(kind)))
        for column in custom_resource(kind)["spec"]["versions"][0]["additionalPrinterColumns"]:
            path = re.sub(r"\[\?\(.*?\)\]", "[]", column["jsonPath"])
            assert path in schemas or path == ".metadata.creationTimestamp", path
    shown = custom_resource("BalancerGroup")["spec"]["versions"][0]["additionalPrinterColumns"]
    plain = [column["name"] for column in shown if not column.get("priority")]
    assert plain == ["Nodes", "Ready", "Sessions", "Capacity", "Util", "Algorithm", "Age"]
    assert [column["name"] for column in shown if column.get("priority")] == ["Balancer", "Accepted", "Programmed"]


def test_a_definition_is_the_callers_own():
    custom_resource("BalancerGroup")["metadata"]["annotations"].clear()
    assert custom_resource("BalancerGroup")["metadata"]["annotations"]
    assert json.loads(json.dumps(custom_resource("BalancerGroup"))) == custom_resource("BalancerGroup")

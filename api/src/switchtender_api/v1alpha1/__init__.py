"""Version v1alpha1 of the documents, as pydantic models."""

from switchtender_api.v1alpha1.config import BalancerConfig, BalancerConfigSpec, Listener, NodeSide
from switchtender_api.v1alpha1.destinations import DestinationSet, MemberDrain, MemberEsl, MemberSip, SetMember
from switchtender_api.v1alpha1.endpoints import Endpoint, EslUrl, SipUri
from switchtender_api.v1alpha1.group import BalancerGroup, BalancerGroupSpec, GroupPolicy, precedence
from switchtender_api.v1alpha1.members import StaticMember
from switchtender_api.v1alpha1.units import PortRange

__all__ = [
    "BalancerConfig",
    "BalancerConfigSpec",
    "BalancerGroup",
    "BalancerGroupSpec",
    "DestinationSet",
    "Endpoint",
    "EslUrl",
    "GroupPolicy",
    "Listener",
    "MemberDrain",
    "MemberEsl",
    "MemberSip",
    "NodeSide",
    "PortRange",
    "SetMember",
    "SipUri",
    "StaticMember",
    "precedence",
]

//! Members of a group.

use std::collections::HashSet;

use super::MOST_NODES;
use crate::group::{Member, Resource};
use crate::hash::identity;
use crate::json::{ConfigError, Field};
use crate::resources::{RESOURCES, ResourceSlot};
use crate::snapshot::{Node, NodeSlot};

pub(super) fn members(field: &Field<'_>, nodes: &[Node], resources: &[Resource]) -> Result<Vec<Member>, ConfigError> {
    let mut seen = HashSet::new();
    let mut members = Vec::new();
    for item in field.list(MOST_NODES)? {
        let mut object = item.object()?;
        let node_field = object.required("node")?;
        let index = node_field.integer(0..=u32::MAX)?;
        let node = usize::try_from(index).ok().and_then(|index| nodes.get(index));
        let node =
            node.ok_or_else(|| node_field.error(format!("there is no node {index}, there are {}", nodes.len())))?;
        if !seen.insert(index) {
            return Err(node_field.error(format!("node {index} is a member already")));
        }
        members.push(Member {
            slot: NodeSlot(index),
            identity: identity(&node.uid),
            weight: object.required("weight")?.number(0.0..=1e6)?,
            priority: object.required("priority")?.integer(i32::MIN..=i32::MAX)?,
            backup: object.optional("backup").map_or(Ok(false), |field| field.boolean())?,
            draining: object.required("draining")?.boolean()?,
            limits: object.optional("limits").map_or(Ok(Vec::new()), |field| limits(&field, resources))?,
        });
        object.finish()?;
    }
    members.sort_by_key(Member::tier);
    Ok(members)
}

fn limits(field: &Field<'_>, resources: &[Resource]) -> Result<Vec<(ResourceSlot, u32)>, ConfigError> {
    let mut limits = Vec::new();
    for (name, limit) in field.entries(RESOURCES.into())? {
        let resource = resources
            .iter()
            .find(|resource| resource.limited && &*resource.name == name)
            .ok_or_else(|| limit.error(format!("the group has no limited resource {name:?}")))?;
        limits.push((resource.slot, limit.integer(0..=u32::MAX)?));
    }
    Ok(limits)
}

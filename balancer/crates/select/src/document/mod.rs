//! The JSON document (format 2) → [`Snapshot`]: everything checked before the registry is asked for anything.
//!
//! A field that says what the default says may be left out.

mod group;
mod members;
mod names;
mod nodes;
mod policy;
mod rules;

use std::collections::HashSet;

use crate::group::{Group, GroupSlot};
use crate::json::{ConfigError, Field, parse};
use crate::resources::{ResourceSet, ResourceSlot};
use crate::snapshot::{Node, Registry, Snapshot};
use names::Names;
use nodes::{keys, nodes};

/// The document's version that this reader knows.
const FORMAT: u64 = 2;

const MOST_NODES: usize = 20_000;
const MOST_GROUPS: usize = 2_000;

pub(crate) fn read(bytes: &[u8], registry: &mut dyn Registry) -> Result<Snapshot, ConfigError> {
    let value = parse(bytes)?;
    let mut document = Field::root(&value).object()?;
    let format = document.required("format")?;
    if format.integer(0..=u64::MAX)? != FORMAT {
        return Err(format.error(format!("this balancer reads format {FORMAT}")));
    }
    let keys = keys(&document.required("keys")?)?;
    let nodes = nodes(&document.required("nodes")?)?;
    let mut names = Names::default();
    let groups = groups(&document.required("groups")?, &nodes, &mut names)?;
    document.finish()?;
    let (nodes, groups) = place(nodes, groups, &names, registry)?;
    Ok(Snapshot::assemble(keys, nodes, groups))
}

fn groups(field: &Field<'_>, nodes: &[Node], names: &mut Names) -> Result<Vec<Group>, ConfigError> {
    let mut seen = HashSet::new();
    let items = field.list(MOST_GROUPS)?;
    let mut groups = Vec::with_capacity(items.len());
    for (index, item) in items.iter().enumerate() {
        let group = group::group(item, index, items.len(), nodes, names)?;
        if !seen.insert((group.namespace.clone(), group.name.clone())) {
            return Err(item.error(format!("group {}/{} occurs twice", group.namespace, group.name)));
        }
        groups.push(group);
    }
    Ok(groups)
}

/// Gives everything its slot. Until here the slot of a node or member is its index in the document, of a resource its
/// place among the names, of a group 0.
fn place(
    mut nodes: Vec<Node>,
    mut groups: Vec<Group>,
    names: &Names,
    registry: &mut dyn Registry,
) -> Result<(Vec<Node>, Vec<Group>), ConfigError> {
    let full = |what: &str| ConfigError { pointer: format!("/{what}"), message: "no slot is free for more".to_owned() };
    let resources: Vec<ResourceSlot> =
        names.iter().map(|name| registry.resource_slot(name)).collect::<Option<_>>().ok_or_else(|| full("groups"))?;
    for node in &mut nodes {
        node.slot = registry.node_slot(&node.uid).ok_or_else(|| full("nodes"))?;
    }
    for group in &mut groups {
        group.slot = registry.group_slot(&group.namespace, &group.name).ok_or_else(|| full("groups"))?;
        for member in &mut group.members {
            let index = usize::try_from(member.slot.0).unwrap_or(usize::MAX);
            member.slot = nodes.get(index).ok_or_else(|| full("nodes"))?.slot;
        }
        rename(group, |slot| resources.get(usize::from(slot.0)).copied()).ok_or_else(|| full("groups"))?;
    }
    let group_slots: Vec<GroupSlot> = groups.iter().map(|group| group.slot).collect();
    let removed = registry.settle(&nodes, &group_slots);
    nodes.extend(removed);
    Ok((nodes, groups))
}

/// Every resource of a group by its lasting slot.
fn rename(group: &mut Group, lasting: impl Fn(ResourceSlot) -> Option<ResourceSlot>) -> Option<()> {
    for resource in &mut group.resources {
        resource.slot = lasting(resource.slot)?;
    }
    for rule in &mut group.matcher.rules {
        rule.resources = rule.resources.iter().map(&lasting).collect::<Option<ResourceSet>>()?;
    }
    for (slot, _) in group.members.iter_mut().flat_map(|member| &mut member.limits) {
        *slot = lasting(*slot)?;
    }
    Some(())
}

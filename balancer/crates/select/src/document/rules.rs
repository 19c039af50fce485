//! Which calls a group takes.

use regex::bytes::{Regex, RegexBuilder};

use super::policy::networks_of;
use crate::group::Resource;
use crate::json::{ConfigError, Field};
use crate::matching::{HeaderRule, HeaderValue, Matcher, Rule, UriRule};
use crate::resources::ResourceSet;

const MOST_RULES: usize = 256;
const MOST_ITEMS: usize = 256;
/// Bytes of a compiled pattern: enough for any dialplan, far from a burden.
const PATTERN_SIZE: usize = 256 * 1024;
const LONGEST_PATTERN: usize = 1_024;

pub(super) fn matcher(field: &Field<'_>, resources: &[Resource]) -> Result<Matcher, ConfigError> {
    let rules = field.list(MOST_RULES)?.iter().map(|item| rule(item, resources)).collect::<Result<_, _>>()?;
    Ok(Matcher { rules })
}

fn rule(field: &Field<'_>, declared: &[Resource]) -> Result<Rule, ConfigError> {
    let mut object = field.object()?;
    let mut uri = |name| object.optional(name).map(|field| uri_rule(&field)).transpose();
    let (request_uri, to, from) = (uri("request_uri")?, uri("to")?, uri("from")?);
    let rule = Rule {
        request_uri,
        to,
        from,
        methods: object.optional("methods").map_or(Ok(Vec::new()), |field| list(&field, method))?,
        sources: object.optional("sources").map_or(Ok(Vec::new()), |field| networks_of(&field))?,
        headers: object.optional("headers").map_or(Ok(Vec::new()), |field| list(&field, header))?,
        listeners: object
            .optional("listeners")
            .map_or(Ok(Vec::new()), |field| list(&field, |item| item.integer(0..=u16::MAX)))?,
        resources: object
            .optional("resources")
            .map_or(Ok(ResourceSet::EMPTY), |field| resources_used(&field, declared))?,
        emergency: object.optional("emergency").map_or(Ok(false), |field| field.boolean())?,
    };
    object.finish()?;
    Ok(rule)
}

fn list<T>(field: &Field<'_>, item: impl Fn(&Field<'_>) -> Result<T, ConfigError>) -> Result<Vec<T>, ConfigError> {
    field.list(MOST_ITEMS)?.iter().map(item).collect()
}

fn uri_rule(field: &Field<'_>) -> Result<UriRule, ConfigError> {
    let mut object = field.object()?;
    let rule = UriRule {
        user: object.optional("user").map(|user| user.name()).transpose()?.map(Into::into),
        host: object.optional("host").map(|host| host.name()).transpose()?.map(Into::into),
        user_pattern: object.optional("user_pattern").map(|field| field.parsed(pattern)).transpose()?,
    };
    object.finish()?;
    Ok(rule)
}

/// Methods are case-sensitive (RFC 3261 §7.1).
fn method(field: &Field<'_>) -> Result<Vec<u8>, ConfigError> {
    field.name().map(Into::into)
}

fn header(field: &Field<'_>) -> Result<HeaderRule, ConfigError> {
    let mut object = field.object()?;
    let name = object.required("name")?.name()?.into();
    let exact = object.optional("value").map(|value| value.string()).transpose()?;
    let found = object.optional("pattern").map(|field| field.parsed(pattern)).transpose()?;
    object.finish()?;
    let value = match (exact, found) {
        (None, None) => HeaderValue::Any,
        (Some(exact), None) => HeaderValue::Exact(exact.into()),
        (None, Some(pattern)) => HeaderValue::Pattern(pattern),
        (Some(_), Some(_)) => return Err(field.error("expected value or pattern, not both")),
    };
    Ok(HeaderRule { name, value })
}

/// The limited ones of the resources named; sessions are counted in any case.
fn resources_used(field: &Field<'_>, declared: &[Resource]) -> Result<ResourceSet, ConfigError> {
    let mut used = ResourceSet::EMPTY;
    for item in field.list(MOST_ITEMS)? {
        let name = item.name()?;
        let resource = declared
            .iter()
            .find(|resource| &*resource.name == name)
            .ok_or_else(|| item.error(format!("the group has no resource {name:?}")))?;
        if resource.limited {
            used = used.with(resource.slot);
        }
    }
    Ok(used)
}

fn pattern(text: &str) -> Result<Regex, String> {
    if text.is_empty() || text.len() > LONGEST_PATTERN {
        return Err(format!("expected a regular expression of 1 to {LONGEST_PATTERN} bytes"));
    }
    RegexBuilder::new(text)
        .unicode(false) // as the loader checked it: ASCII classes, which stay small
        .size_limit(PATTERN_SIZE)
        .dfa_size_limit(PATTERN_SIZE)
        .nest_limit(64)
        .build()
        .map_err(|error| format!("not a usable regular expression: {error}"))
}

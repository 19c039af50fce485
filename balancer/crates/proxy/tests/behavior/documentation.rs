//! `docs/lifecycle.md` names functions and tests; all of them exist.

use std::fs;
use std::path::Path;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

#[test]
fn every_anchor_of_the_lifecycle_page_exists() {
    let page = fs::read_to_string(root().join("../../../docs/lifecycle.md")).unwrap();
    let mut anchors = 0;
    for quoted in page.split('`').skip(1).step_by(2) {
        let Some((file, name)) = quoted.split_once(".rs: ") else { continue };
        let source = fs::read_to_string(root().join("src").join(format!("{file}.rs"))).unwrap();
        let defined = ["fn", "struct", "enum", "trait"].iter().any(|kind| {
            let definition = format!("{kind} {name}");
            source.match_indices(&definition).any(|(at, _)| {
                !source[at + definition.len()..].starts_with(|next: char| next.is_alphanumeric() || next == '_')
            })
        });
        assert!(defined, "{quoted}");
        anchors += 1;
    }
    assert!(anchors > 40, "{anchors}");
}

#[test]
fn every_test_that_the_lifecycle_page_names_exists() {
    let page = fs::read_to_string(root().join("../../../docs/lifecycle.md")).unwrap();
    let mut tests = String::new();
    for entry in fs::read_dir(root().join("tests/behavior")).unwrap() {
        tests += &fs::read_to_string(entry.unwrap().path()).unwrap();
    }
    let (_, table) = page.split_once("## RFC 3261 §16 by test").unwrap();
    let names: Vec<&str> = table.split('`').skip(1).step_by(2).collect();
    assert!(names.len() > 30);
    for name in names {
        assert!(tests.contains(&format!("#[test]\nfn {name}() {{")), "{name}");
    }
}

//! What the program is built from: each dependency comes from the registry and has a licence that `deny.toml` allows.
//!
//! `cargo deny check` says more (advisories, other platforms) where it is installed; this runs everywhere.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use spdx::{Expression, Licensee};

const REGISTRY: &str = "registry+https://github.com/rust-lang/crates.io-index";

/// The platform that is built for here, as `rustc` calls it.
fn platform() -> String {
    let output = Command::new("rustc").arg("-vV").output().expect("rustc");
    let text = String::from_utf8(output.stdout).expect("text");
    let host = text.lines().find_map(|line| line.strip_prefix("host: "));
    host.expect("a host").to_owned()
}

fn metadata(root: &Path) -> serde_json::Value {
    let output = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
        .args([
            "metadata",
            "--format-version",
            "1",
            "--locked",
            "--filter-platform",
        ])
        .arg(platform())
        .current_dir(root)
        .output()
        .expect("cargo");
    assert!(
        output.status.success(),
        "cargo metadata: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    serde_json::from_slice(&output.stdout).expect("JSON")
}

fn allowed(root: &Path) -> Vec<Licensee> {
    let text = std::fs::read_to_string(root.join("deny.toml")).expect("deny.toml");
    let deny: toml::Table = text.parse().expect("TOML");
    let names = deny["licenses"]["allow"].as_array().expect("a list");
    names
        .iter()
        .map(|name| Licensee::parse(name.as_str().expect("a name")).expect("a licence"))
        .collect()
}

#[test]
fn dependencies_have_allowed_licences_and_come_from_the_registry() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("a parent");
    let allowed = allowed(root);
    let metadata = metadata(root);
    let packages = metadata["packages"].as_array().expect("packages");
    assert!(
        packages.len() > 100,
        "only {} packages were found",
        packages.len()
    );
    let mut refused = BTreeSet::new();
    for package in packages {
        let name = package["name"].as_str().expect("a name");
        let ours = package["source"].is_null();
        if !ours && package["source"] != REGISTRY {
            refused.insert(format!("{name}: comes from {}", package["source"]));
        }
        let text = package["license"].as_str().unwrap_or_default();
        // Older manifests write a slash for "or".
        let taken = Expression::parse(&text.replace('/', " OR ")).is_ok_and(|expression| {
            expression.evaluate(|wanted| allowed.iter().any(|licence| licence.satisfies(wanted)))
        });
        if !taken {
            refused.insert(format!("{name}: its licence is {text:?}"));
        }
    }
    assert!(refused.is_empty(), "not allowed by deny.toml: {refused:#?}");
}

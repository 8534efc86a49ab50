//! `cluster.json`: what outside programs know of a playground.

use std::io::Write;
use std::path::Path;

use anyhow::Context;
use serde_json::{Map, Value, json};

use super::Arguments;
use super::layout::Layout;
use super::node::Node;

/// Names of a proxy's endpoints, in the order in which they are shown.
const PROXY_ENDPOINTS: [&str; 7] = [
    "imap",
    "imaps",
    "smtp",
    "submission",
    "submissions",
    "lmtp",
    "http",
];

/// The manifest of running nodes.
pub(super) fn build(layout: &Layout, arguments: &Arguments, nodes: &[Node]) -> Value {
    let admins = admins(nodes);
    json!({
        "nodes": nodes.iter().flat_map(|node| rows(node, arguments)).collect::<Vec<_>>(),
        "proxies": nodes.iter().filter(|node| node.endpoints().contains_key("imap")).map(proxy).collect::<Vec<_>>(),
        "admin": admins.first(),
        "admins": admins,
        "admin_token_file": layout.admin_token_file(),
        "ca_file": layout.ca_file(),
        "accounts": {
            "count": arguments.accounts,
            "pattern": arguments.account_pattern,
            "first": 1,
            "password": arguments.password,
        },
    })
}

/// Where the directory's members listen for operators.
pub(super) fn admins(nodes: &[Node]) -> Vec<String> {
    let admins = nodes.iter().filter_map(|node| node.endpoints().get("admin"));
    admins.map(|admin| format!("https://{admin}")).collect()
}

/// A node's rows: one, or one for each role when they share a process.
fn rows(node: &Node, arguments: &Arguments) -> Vec<Value> {
    let roles: &[&str] = if arguments.single {
        &["directory", "mailstore", "proxy"]
    } else {
        &[node.plan.role]
    };
    let endpoint = |name: &str| node.endpoints().get(name).cloned().unwrap_or_default();
    let row = |role: &&str| {
        let id = if arguments.single {
            format!("{role}-1")
        } else {
            node.plan.id.clone()
        };
        json!({
            "role": role, "id": id, "pid": node.pid(),
            "address": endpoint("calls"), "http": endpoint("http"),
            "data": node.plan.folder, "restart": node.plan.restart(),
        })
    };
    roles.iter().map(row).collect()
}

fn proxy(node: &Node) -> Value {
    let mut row = Map::new();
    let id = if node.plan.role == "serve" {
        "proxy-1"
    } else {
        node.plan.id.as_str()
    };
    row.insert("id".to_owned(), json!(id));
    for name in PROXY_ENDPOINTS {
        if let Some(address) = node.endpoints().get(name) {
            row.insert(name.to_owned(), json!(address));
        }
    }
    Value::Object(row)
}

/// Writes the manifest whole and at once.
pub(super) fn write(path: &Path, manifest: &Value) -> anyhow::Result<()> {
    let temporary = path.with_extension("json.new");
    let mut text = serde_json::to_string_pretty(manifest)?;
    text.push('\n');
    std::fs::write(&temporary, text).with_context(|| format!("cannot write {}", temporary.display()))?;
    std::fs::rename(&temporary, path).with_context(|| format!("cannot write {}", path.display()))
}

/// Prints the endpoints, and last the line `ready`.
pub(super) fn print(manifest: &Value) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    for proxy in manifest["proxies"].as_array().into_iter().flatten() {
        write!(out, "{}", proxy["id"].as_str().unwrap_or_default())?;
        for name in PROXY_ENDPOINTS {
            if let Some(address) = proxy[name].as_str() {
                write!(out, "  {name} {address}")?;
            }
        }
        writeln!(out)?;
    }
    let admins = manifest["admins"].as_array().into_iter().flatten();
    let admins: Vec<&str> = admins.filter_map(Value::as_str).collect();
    writeln!(out, "admin {}", admins.join(","))?;
    let accounts = &manifest["accounts"];
    writeln!(
        out,
        "accounts {} like {} with password {}",
        accounts["count"],
        accounts["pattern"].as_str().unwrap_or_default(),
        accounts["password"].as_str().unwrap_or_default()
    )?;
    writeln!(out, "ready")?;
    out.flush()?;
    Ok(())
}

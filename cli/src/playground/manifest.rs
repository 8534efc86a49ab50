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
        "nodes": nodes.iter().flat_map(rows).collect::<Vec<_>>(),
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
pub(super) fn rows(node: &Node) -> Vec<Value> {
    let has_all_roles = node.plan.role == "serve";
    let roles: &[&str] = if has_all_roles {
        &["directory", "mailstore", "proxy"]
    } else {
        &[node.plan.role]
    };
    let endpoint = |name: &str| node.endpoints().get(name).cloned().unwrap_or_default();
    let row = |role: &&str| {
        let id = if has_all_roles {
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

/// Adds rows of further nodes to a manifest, whole and at once. The rest stays as it is in the file.
pub(super) fn append(path: &Path, rows: &[Value]) -> anyhow::Result<()> {
    let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    let mut manifest: Value =
        serde_json::from_str(&text).with_context(|| format!("{} is not a cluster file", path.display()))?;
    manifest["nodes"]
        .as_array_mut()
        .with_context(|| format!("{} lists no nodes", path.display()))?
        .extend_from_slice(rows);
    write(path, &manifest)
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

//! Join secrets: an operator has one made, and the first machine that presents it is issued a certificate for the id that it is for.
//!
//! Whoever may not know anything hears nothing: all that can be wrong with a secret is one refusal. The secret itself is never stored.

use std::net::IpAddr;

use ring::hmac::{self, HMAC_SHA256};
use rookery_proto::Role;
use rookery_proto::directory::v1::NodeRole;
use rookery_proto::remote::names::{NodeName, SUFFIX};
use rookery_replication::{Batch, Column};

use super::{PlanError, Planned};
use crate::events::{self, Kind};
use crate::schema::key;
use crate::schema::read::{ReadError, Rows};
use crate::schema::row::{self, Row};

/// Joins that may be pending at one time.
pub const JOINS_MAX: usize = 64;

/// After so many wrong secrets for one join it is void.
pub const WRONG_MAX: u32 = 10;

/// For how long a secret may be good, in milliseconds: a second to a week.
pub const VALID_MILLIS: std::ops::RangeInclusive<u64> = 1_000..=7 * 24 * 3_600_000;

/// Names and addresses of a node.
const HOSTS_MAX: usize = 16;

/// The longest host name (RFC 1035 §2.3.4).
const HOST_BYTES_MAX: usize = 253;

/// What an operator wants to add.
#[derive(Debug, Clone)]
pub struct Wanted {
    /// The new node's role.
    pub role: Role,
    /// Its id; empty: the next free one.
    pub id: String,
    /// Names and addresses under which it is reached.
    pub hosts: Vec<String>,
    /// For how long the secret is good, in milliseconds.
    pub valid_millis: u64,
}

/// A join secret: the part by which it is found, and the part that proves it.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret {
    /// Its public part.
    pub join: [u8; 8],
    /// What only the new machine knows.
    pub proof: [u8; 32],
}

/// Who asks with a secret.
pub struct Presented {
    /// What it says.
    pub secret: Secret,
    /// SHA-256 of the public key that is to be certified.
    pub key: Vec<u8>,
}

/// Makes a join; answers its row.
pub fn add(
    rows: Rows<'_>,
    cluster: &str,
    wanted: &Wanted,
    secret: &Secret,
    now_millis: u64,
) -> Result<Planned<row::Join>, PlanError> {
    if !VALID_MILLIS.contains(&wanted.valid_millis) {
        return Err(PlanError::Invalid(
            "a join secret is good for a second to a week".to_owned(),
        ));
    }
    check_hosts(&wanted.hosts)?;
    let mut batch = Batch::new();
    let mut pending = Vec::new();
    for (key, join) in rows.joins()? {
        if join.expires_at_millis <= now_millis {
            batch.delete(Column::Rows, key);
        } else {
            pending.push(join);
        }
    }
    if pending.len() >= JOINS_MAX {
        return Err(PlanError::Precondition(format!(
            "{JOINS_MAX} joins are pending: revoke some, which `rookery node list` names, with `rookery node add --revoke`"
        )));
    }
    let id = if wanted.id.is_empty() {
        next_id(rows, &pending, wanted.role)?
    } else {
        check_free(rows, &pending, &wanted.id)?;
        wanted.id.clone()
    };
    if NodeName::new(&id, wanted.role, cluster).is_none() {
        return Err(PlanError::Invalid(format!(
            "{id:?} cannot be a node id: lower-case letters, digits and hyphens, at most 63"
        )));
    }
    let join = row::Join {
        tag: tag(cluster, secret, &id),
        node: id,
        role: node_role(wanted.role).into(),
        hosts: wanted.hosts.clone(),
        expires_at_millis: now_millis.saturating_add(wanted.valid_millis),
        used_by: Vec::new(),
        wrong: 0,
    };
    batch.put(Column::Rows, key::join(&secret.join), join.to_stored());
    let told = format!("may join as a {}", wanted.role.as_str());
    let event = events::of_node(Kind::NodeInvited, &join.node, &told);
    Ok(Planned::new(batch, join).telling([event]))
}

/// Whether a secret gives a certificate to a key, and of which node. The first key has it; nobody else does from then on.
pub fn redeem(
    rows: Rows<'_>,
    cluster: &str,
    presented: &Presented,
    now_millis: u64,
) -> Result<Planned<Option<row::Join>>, PlanError> {
    let mut planned = Planned::new(Batch::new(), None);
    let Presented { secret, key } = presented;
    let Some(mut join) = rows.join(&secret.join)? else {
        return Ok(planned);
    };
    if join.expires_at_millis <= now_millis || join.wrong >= WRONG_MAX {
        return Ok(planned);
    }
    let stored = key::join(&secret.join);
    if !is_right(cluster, secret, &join) {
        join.wrong += 1;
        planned.batch.put(Column::Rows, stored, join.to_stored());
        return Ok(planned);
    }
    let is_removed = rows
        .identity(&join.node)?
        .is_some_and(|identity| identity.removed_at_millis != 0);
    if !join.used_by.is_empty() {
        // Its answer may have been lost. Keys are public: how long this takes tells nothing.
        if join.used_by == *key && !is_removed {
            planned.reply = Some(join);
        }
        return Ok(planned);
    }
    if rows.node(&join.node)?.is_some() {
        return Ok(planned);
    }
    join.used_by.clone_from(key);
    planned.batch.put(Column::Rows, stored, join.to_stored());
    let identity = row::Identity {
        role: join.role,
        issued_at_millis: now_millis,
        removed_at_millis: 0,
    };
    planned
        .batch
        .put(Column::Rows, key::identity(&join.node), identity.to_stored());
    let event = events::of_node(
        Kind::NodeIssued,
        &join.node,
        "has its certificate, by a join secret",
    );
    planned.reply = Some(join);
    Ok(planned.telling([event]))
}

/// A join that is pending, or has its certificate and is not there yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pending {
    /// The new node's id.
    pub node: String,
    /// `directory.v1.NodeRole`.
    pub role: i32,
    /// When its secret expires, unix milliseconds; 0: it is used up.
    pub expires_at_millis: u64,
}

/// The joins of which there is no node yet, ascending by id. A proxy is never seen to be there, so one that has its certificate is left out.
pub fn pending(rows: Rows<'_>, now_millis: u64) -> Result<Vec<Pending>, ReadError> {
    let unused = rows.joins()?.into_iter().filter_map(|(_, join)| {
        (join.used_by.is_empty() && join.expires_at_millis > now_millis).then_some(Pending {
            node: join.node,
            role: join.role,
            expires_at_millis: join.expires_at_millis,
        })
    });
    let mut pending: Vec<Pending> = unused.collect();
    for (node, identity) in rows.identities()? {
        if identity.removed_at_millis == 0 && identity.role != i32::from(NodeRole::Proxy) {
            pending.push(Pending {
                node,
                role: identity.role,
                expires_at_millis: 0,
            });
        }
    }
    pending.sort_by(|a, b| a.node.cmp(&b.node));
    Ok(pending)
}

/// The ids of nodes that were removed, ascending.
pub fn removed(rows: Rows<'_>) -> Result<Vec<String>, ReadError> {
    let mut identities = rows.identities()?;
    identities.retain(|(_, identity)| identity.removed_at_millis != 0);
    Ok(identities.into_iter().map(|(id, _)| id).collect())
}

/// An id that was given out is free again, and its secret void.
pub fn revoke(rows: Rows<'_>, id: &str) -> Result<Planned<()>, PlanError> {
    if rows.node(id)?.is_some() {
        return Err(PlanError::Precondition(format!(
            "{id} has joined already: `rookery node drain {id}`, then `rookery rebalance`, then `rookery node remove {id}`"
        )));
    }
    let mut batch = Batch::new();
    for (key, join) in rows.joins()? {
        if join.node == id {
            batch.delete(Column::Rows, key);
        }
    }
    if rows
        .identity(id)?
        .is_some_and(|identity| identity.removed_at_millis == 0)
    {
        batch.delete(Column::Rows, key::identity(id));
    }
    if batch.is_empty() {
        return Err(PlanError::NotFound(format!("nothing is pending for {id:?}")));
    }
    Ok(Planned::new(batch, ()).telling([events::of_node(Kind::NodeRevoked, id, "is not to join after all")]))
}

fn check_free(rows: Rows<'_>, pending: &[row::Join], id: &str) -> Result<(), PlanError> {
    let taken = |message: String| Err(PlanError::AlreadyExists(message));
    if rows.node(id)?.is_some() {
        return taken(format!(
            "{id} is the id of a node: leave --id out to have a free one chosen"
        ));
    }
    let identity = rows.identity(id)?;
    if identity
        .as_ref()
        .is_some_and(|identity| identity.removed_at_millis != 0)
    {
        // Its old process may still be somewhere, with a certificate that is good.
        return taken(format!(
            "{id} is the id of a node that was removed: leave --id out to have a free one chosen, or allow it again with \
             `rookery node remove {id} --undo`"
        ));
    }
    if identity.is_some() || pending.iter().any(|join| join.node == id) {
        return taken(format!(
            "{id} is given out already: `rookery node add --revoke {id}` makes it free again"
        ));
    }
    Ok(())
}

/// The role's name with the number above all that are known, of nodes that were removed too: what is kept of them elsewhere is not
/// taken for the new one's.
fn next_id(rows: Rows<'_>, pending: &[row::Join], role: Role) -> Result<String, ReadError> {
    let name = role.as_str();
    let nodes = rows.nodes()?.into_iter().map(|(id, _)| id);
    let identities = rows.identities()?.into_iter().map(|(id, _)| id);
    let joins = pending.iter().map(|join| join.node.clone());
    let highest = nodes
        .chain(identities)
        .chain(joins)
        .filter_map(|id| id.strip_prefix(name)?.strip_prefix('-')?.parse::<u32>().ok())
        .max();
    Ok(format!("{name}-{}", u64::from(highest.unwrap_or(0)) + 1))
}

fn check_hosts(hosts: &[String]) -> Result<(), PlanError> {
    if !(1..=HOSTS_MAX).contains(&hosts.len()) {
        return Err(PlanError::Invalid(format!(
            "a node has 1 to {HOSTS_MAX} names and addresses under which it is reached"
        )));
    }
    for host in hosts {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'.';
        let is_name = !host.is_empty() && host.len() <= HOST_BYTES_MAX && host.bytes().all(allowed);
        if !is_name && host.parse::<IpAddr>().is_err() {
            return Err(PlanError::Invalid(format!(
                "{host:?} is neither a host's name nor an IP address"
            )));
        }
        // With such a name it could be taken for another node.
        if host.to_ascii_lowercase().ends_with(SUFFIX) {
            return Err(PlanError::Invalid(format!(
                "{host:?} ends as the names of nodes among themselves do: leave it out"
            )));
        }
    }
    Ok(())
}

/// What is kept of a secret: a hash keyed by it, of all that it is for.
fn tag(cluster: &str, secret: &Secret, node: &str) -> Vec<u8> {
    let key = hmac::Key::new(HMAC_SHA256, &secret.proof);
    hmac::sign(&key, &bound(cluster, secret, node)).as_ref().to_vec()
}

/// Takes the same time wherever it differs.
fn is_right(cluster: &str, secret: &Secret, join: &row::Join) -> bool {
    let key = hmac::Key::new(HMAC_SHA256, &secret.proof);
    hmac::verify(&key, &bound(cluster, secret, &join.node), &join.tag).is_ok()
}

fn bound(cluster: &str, secret: &Secret, node: &str) -> Vec<u8> {
    let mut bytes = b"rookery join\0".to_vec();
    for part in [cluster.as_bytes(), node.as_bytes()] {
        bytes.extend_from_slice(part);
        bytes.push(0);
    }
    bytes.extend_from_slice(&secret.join);
    bytes
}

fn node_role(role: Role) -> NodeRole {
    match role {
        Role::Mailstore => NodeRole::Mailstore,
        Role::Proxy => NodeRole::Proxy,
        Role::Directory => NodeRole::Directory,
    }
}

impl Secret {
    /// The longest text of one.
    pub const TEXT_BYTES: usize = 16 + 1 + 64;

    /// As it is told to the operator: two parts of lower-case hexadecimal digits.
    pub fn to_text(&self) -> String {
        let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        format!("{}.{}", hex(&self.join), hex(&self.proof))
    }

    /// Reads that.
    pub fn parse(text: &str) -> Option<Self> {
        let (join, proof) = text.split_once('.')?;
        Some(Self {
            join: read_hex(join)?,
            proof: read_hex(proof)?,
        })
    }
}

fn read_hex<const N: usize>(text: &str) -> Option<[u8; N]> {
    let digits = text.as_bytes();
    if digits.len() != 2 * N {
        return None;
    }
    let mut bytes = [0; N];
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        let digit = |at: usize| char::from(pair[at]).to_digit(16);
        *byte = u8::try_from(digit(0)? * 16 + digit(1)?).ok()?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests;

//! What runs on a simulated machine beside its replicas: it opens them, writes and reads as a shard's writer and its readers do, and
//! keeps the members as the directory names them.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesOrdered;
use rookery_replication::group::{Group, Leader, Member, MembersStep, OpenError, Proposal, ProposeError};
use rookery_replication::{GroupId, Overlay};
use tokio::time::sleep;

use crate::history::{Outcome, Read};
use crate::list::{self, Element};
use crate::shared::Here;

/// Entries of a writer that may be under way.
const IN_FLIGHT_MAX: usize = 6;

/// How long a step of a change of members may take.
const STEP_MAX: Duration = Duration::from_millis(500);

fn pause(here: &Here, millis: std::ops::Range<u64>) -> tokio::time::Sleep {
    sleep(Duration::from_millis(here.shared.draw(millis)))
}

/// Holds the replicas that the directory wants here, and no others, for as long as the machine runs.
pub(crate) async fn run(here: Here, member: Arc<Member>) {
    loop {
        let groups = here.shared.directory.lock().groups();
        for group in groups {
            hold(&here, &member, group).await;
        }
        pause(&here, 150..450).await;
    }
}

async fn hold(here: &Here, member: &Arc<Member>, group: GroupId) {
    let held = member.held(group).expect("reads");
    if let Some(held) = held
        && here.shared.directory.lock().is_retired(group, held, &here.node)
    {
        here.trace(&format!("removes {group:?} {held:?}"));
        if let Err(error) = member.remove_group(group).await {
            // A machine that is being stopped goes on with it when it is started again.
            let is_stopping = error.to_string().contains("has been closed");
            if !is_stopping {
                let node = &here.node;
                here.shared
                    .violated(format!("a replica is removed: of {group:?} on {node}: {error}"));
            }
        }
        return;
    }
    let Some(spec) = here.shared.directory.lock().spec(group, &here.node) else {
        return;
    };
    if member
        .group(group)
        .is_some_and(|open| open.replica() == spec.replica)
    {
        return;
    }
    let replica = spec.replica;
    match member.open_group(spec).await {
        Ok(open) => {
            if here.is_dark() {
                return;
            }
            here.trace(&format!("opened {group:?} {replica:?}"));
            here.shared.directory.lock().taken(group, replica);
            tokio::spawn(write(here.clone(), Arc::clone(member), Arc::clone(&open)));
            tokio::spawn(read(here.clone(), Arc::clone(member), Arc::clone(&open)));
            tokio::spawn(keep_members(here.clone(), Arc::clone(member), open));
        }
        Err(OpenError::Lost { .. }) => {
            here.trace(&format!("lost {group:?} {replica:?}"));
            here.shared.directory.lock().lost(group, replica);
        }
        Err(OpenError::Other { .. } | OpenError::Closing) => {}
        Err(error) => here.shared.violated(format!(
            "a replica opens: {} of {group:?} on {}: {error}",
            replica.0, here.node
        )),
    }
}

/// Appends to the group's list while the replica leads.
async fn write(here: Here, member: Arc<Member>, group: Arc<Group>) {
    while group.until_leading().await {
        if !here.shared.directory.lock().placement(group.id()).formed {
            pause(&here, 20..100).await;
            continue;
        }
        match group.lead().await {
            Ok(leader) => lead(&here, &member, &group, &leader).await,
            Err(_) => pause(&here, 20..80).await,
        }
    }
}

async fn lead(here: &Here, member: &Member, group: &Group, leader: &Leader) {
    here.shared.count("leaderships");
    here.trace(&format!("leads {:?} as {:?}", group.id(), leader.id()));
    let mut overlay = Overlay::new();
    let mut in_flight = FuturesOrdered::new();
    loop {
        let may = in_flight.len() < IN_FLIGHT_MAX && !here.shared.is_quiet();
        tokio::select! {
            biased;
            Some((append, proposed, outcome)) = in_flight.next(), if !in_flight.is_empty() => {
                settle(here, append, outcome);
                match outcome {
                    Ok(()) => overlay.applied(proposed),
                    Err(_) => break,
                }
            }
            _ = group.until_following() => break,
            () = pause(here, 1..40), if may => {
                let (append, proposal) = append(here, member, leader, &mut overlay).await;
                in_flight.push_back(async move { (append, proposal.number(), proposal.await) });
            }
        }
    }
    while let Some((append, _, outcome)) = in_flight.next().await {
        settle(here, append, outcome);
    }
}

/// Plans an append over what is in flight, and proposes it.
async fn append(here: &Here, member: &Member, leader: &Leader, overlay: &mut Overlay) -> (u64, Proposal) {
    let (group, store) = (leader.group(), member.store());
    let (batch, append) = {
        let view = overlay.over(store.as_ref());
        let index = list::length(&view, group).expect("reads");
        let before = match index.checked_sub(1) {
            Some(last) => list::element(&view, group, last)
                .expect("reads")
                .map_or(0, |last| last.append),
            None => 0,
        };
        let append = here
            .shared
            .history
            .lock()
            .ask(group, &here.node, leader.id(), index);
        (list::plan(group, index, Element { append, before }), append)
    };
    overlay
        .push(leader.next_number(), &batch, store.as_ref())
        .expect("reads");
    here.trace(&format!("appends {append} to {group:?}"));
    (append, leader.propose(batch).await)
}

fn settle(here: &Here, append: u64, outcome: Result<(), ProposeError>) {
    if here.is_dark() {
        return;
    }
    here.trace(&format!("append {append}: {outcome:?}"));
    let outcome = match outcome {
        Ok(()) => Outcome::Applied,
        Err(ProposeError::Lost) => Outcome::Unknown,
        Err(ProposeError::Replan | ProposeError::NotLeader | ProposeError::Closed) => Outcome::Refused,
    };
    here.shared.history.lock().answer(append, outcome);
}

fn is_open(member: &Member, group: &Group) -> bool {
    let open = member.group(group.id());
    open.is_some_and(|open| open.replica() == group.replica())
}

/// Reads the group's list by read index, wherever the replica is.
async fn read(here: Here, member: Arc<Member>, group: Arc<Group>) {
    while is_open(&member, &group) {
        pause(&here, 5..120).await;
        let known = here.shared.history.lock().known(group.id());
        if group.confirm().await.is_err() || here.is_dark() {
            continue;
        }
        let seen = list::length(member.store().as_ref(), group.id()).expect("reads");
        here.trace(&format!("reads {:?}: {seen} of {known}", group.id()));
        here.shared.history.lock().read(Read {
            group: group.id(),
            node: here.node.clone(),
            known,
            seen,
        });
    }
}

/// Makes the group's members those that the directory names.
async fn keep_members(here: Here, member: Arc<Member>, group: Arc<Group>) {
    while is_open(&member, &group) {
        pause(&here, 200..600).await;
        let placement = here.shared.directory.lock().placement(group.id()).clone();
        let standing = group.standing();
        if !standing.leads || !placement.formed || placement.agreed {
            continue;
        }
        if placement.places.iter().any(|place| !place.taken) {
            continue;
        }
        let wanted = placement.wanted();
        let step = tokio::time::timeout(STEP_MAX, group.step_members(&wanted)).await;
        if here.is_dark() {
            return;
        }
        here.trace(&format!("members of {:?}: {step:?}", group.id()));
        if let Ok(Ok(MembersStep::Settled)) = step {
            here.shared.count("memberships agreed");
            here.shared.directory.lock().agreed(group.id(), &wanted);
        }
    }
}

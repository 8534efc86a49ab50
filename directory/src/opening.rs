//! How a member comes to its replica: the one that it holds, one of a group that is formed now, or one that it is given.
//!
//! A group is formed once: by the first member, when it holds nothing and each other one answers that it holds nothing
//! either, or a replica that has never voted. It has all others open theirs before its own, so that a member that has lost
//! its disk always finds another that knows better. Such a one never opens its old replica again: the leader gives it a new
//! number, and takes it in under that.

use std::sync::Arc;
use std::time::Duration;

use rookery_proto::directory::v1::{DescribeMember, FormGroup, JoinGroup, MemberState, reply, request};
use rookery_proto::{Reason, Status};
use rookery_replication::GroupId;
use rookery_replication::group::{Group, ReplicaSpec, Start};
use rookery_replication::log::ReplicaId;

use crate::post::Post;

/// Pause before a replica is looked for again.
const RETRY_PAUSE: Duration = Duration::from_millis(200);

/// How often a member that does not lead asks whether its replica is still the one that its node is to hold.
const DOUBT_INTERVAL: Duration = Duration::from_secs(5);

/// Sees to it that this member has a replica that is one of the group, until cancelled.
pub(crate) async fn keep_open(post: Arc<Post>) {
    loop {
        let group = open(&post).await;
        tracing::info!(
            replica = group.replica().0,
            "this member of the directory has its replica"
        );
        until_foreign(&post, &group).await;
        tracing::warn!(
            replica = group.replica().0,
            "the group goes on without this member's replica: it is removed, and a new one is asked for"
        );
        drop(group);
        remove(&post).await;
    }
}

async fn remove(post: &Post) {
    let _opening = post.opening.lock().await;
    post.set_group(None);
    while let Err(error) = post.member.remove_group(GroupId::DIRECTORY).await {
        tracing::error!(%error, "the replica could not be removed; trying again");
        tokio::time::sleep(RETRY_PAUSE).await;
    }
}

/// Opens this member's replica, however long that takes.
async fn open(post: &Post) -> Arc<Group> {
    let mut told = String::new();
    loop {
        // Another member may have had it opened.
        if let Some(group) = post.group() {
            return group;
        }
        if let Err(status) = try_open(post).await
            && told != status.message
        {
            tracing::warn!(%status, "this member of the directory has no replica yet; trying again");
            told = status.message;
        }
        if post.group().is_none() {
            tokio::time::sleep(RETRY_PAUSE).await;
        }
    }
}

async fn try_open(post: &Post) -> Result<(), Status> {
    if let Some(replica) = held(post)? {
        return open_as(post, replica, Start::Resume).await;
    }
    let asked = request::Call::DescribeMember(DescribeMember {});
    let answers = post.members.ask_others(&asked).await;
    let all = answers.len();
    let states: Vec<MemberState> = answers
        .into_iter()
        .filter_map(|answer| match answer {
            Ok(reply::Call::MemberDescription(description)) => Some(description.state()),
            _ => None,
        })
        .collect();
    if states.contains(&MemberState::Formed) {
        return join(post).await;
    }
    let is_unformed = |state: &MemberState| matches!(state, MemberState::Empty | MemberState::Blank);
    if states.iter().filter(|state| is_unformed(state)).count() < all {
        return Err(Status::unavailable(
            "the directory's group is formed once all its members are there",
        ));
    }
    if post.members.is_first() {
        form(post).await?;
    }
    Ok(())
}

/// Asks the leader for a number, and opens the replica of that.
async fn join(post: &Post) -> Result<(), Status> {
    let opening = post.opening.lock().await;
    // What was asked of the others took time, in which the first may have had the replica of this place opened.
    if post.group().is_some() || held(post)?.is_some() {
        return Ok(());
    }
    let call = request::Call::JoinGroup(JoinGroup { held: 0 });
    let answer = post.members.ask_leader(call).await;
    post.note_awaited(matches!(&answer, Err(status) if status.reason == Reason::PermissionDenied));
    match answer? {
        reply::Call::JoinedGroup(joined) => {
            let replica = ReplicaId(joined.replica);
            open_locked(post, &opening, replica, Start::Join).await
        }
        _ => Err(Status::internal("the leader answered with something else")),
    }
}

/// Has all others open their replicas, then opens the own one.
async fn form(post: &Post) -> Result<(), Status> {
    let call = request::Call::FormGroup(FormGroup {
        members: post.members.ids(),
    });
    for answer in post.members.ask_others(&call).await {
        answer?;
    }
    tracing::info!("the directory's group is formed");
    let spec = post.members.formed_spec();
    open_as(post, spec.replica, spec.start).await
}

/// Opens the replica, unless another is open or held by now.
async fn open_as(post: &Post, replica: ReplicaId, start: Start) -> Result<(), Status> {
    let opening = post.opening.lock().await;
    if post.group().is_some() {
        return Ok(());
    }
    open_locked(post, &opening, replica, start).await
}

async fn open_locked(
    post: &Post,
    _opening: &tokio::sync::MutexGuard<'_, ()>,
    replica: ReplicaId,
    start: Start,
) -> Result<(), Status> {
    let spec = ReplicaSpec {
        group: GroupId::DIRECTORY,
        replica,
        start,
    };
    let group = post
        .member
        .open_group(spec)
        .await
        .map_err(|error| Status::unavailable(error.to_string()))?;
    post.set_group(Some(group));
    Ok(())
}

fn held(post: &Post) -> Result<Option<ReplicaId>, Status> {
    post.member
        .held(GroupId::DIRECTORY)
        .map_err(|error| Status::internal(error.to_string()))
}

/// Waits until a leader says that this node is to hold another replica, which it never does while this one votes. What it
/// holds cannot be made good then: it was replaced, and has come back by way of an old disk.
async fn until_foreign(post: &Post, group: &Group) {
    loop {
        tokio::time::sleep(DOUBT_INTERVAL).await;
        if group.leads() {
            continue;
        }
        let held = group.replica().0;
        let call = request::Call::JoinGroup(JoinGroup { held });
        if let Ok(reply::Call::JoinedGroup(wanted)) = post.members.ask_leader(call).await
            && wanted.replica != held
        {
            return;
        }
    }
}

/// Answers how far this member is.
pub(crate) fn describe(post: &Post) -> Result<MemberState, Status> {
    let Some(group) = post.group() else {
        // One that is held and not open yet is as good as any.
        let state = held(post)?.map_or(MemberState::Empty, |_| MemberState::Formed);
        return Ok(state);
    };
    let is_blank = group.replica() == post.members.formed_spec().replica && group.is_blank();
    Ok(if is_blank {
        MemberState::Blank
    } else {
        MemberState::Formed
    })
}

/// Opens the replica that this member's place gives it, if it holds nothing.
pub(crate) async fn form_here(post: &Post, members: &[String]) -> Result<(), Status> {
    let refused = |message: String| Status::new(Reason::FailedPrecondition, message);
    if members != post.members.ids() {
        return Err(refused(format!(
            "{} is configured with other directory.members than the first one",
            post.members.own()
        )));
    }
    let spec = post.members.formed_spec();
    if held(post)?.is_some_and(|held| held != spec.replica) {
        return Err(refused(format!("{} is a member already", post.members.own())));
    }
    // Without the group's membership, which comes from the first one: with it, this one would stand for election at once, and after
    // that seem formed, though the first one may never get to open its own.
    open_as(post, spec.replica, Start::Join).await?;
    match describe(post)? {
        MemberState::Blank => Ok(()),
        _ => Err(refused(format!("{} is a member already", post.members.own()))),
    }
}

//! Who has logged in lately may log in while the directory is away, and nobody else.

use super::*;
use crate::route::account::now_millis;

const LOGIN: &str = "user@example.test";

async fn login(cluster: &Arc<Cluster>, password: &str) -> Result<Arc<Account>, Status> {
    cluster.authenticate(LOGIN, password, "client").await
}

fn reason(result: Result<Arc<Account>, Status>) -> Option<Reason> {
    result.err().map(|status| status.reason)
}

#[tokio::test]
async fn a_known_login_is_let_in_while_the_directory_is_away_and_an_unknown_one_comes_later() {
    let (directory, cluster, _) = session().await;
    directory.away.store(true, Ordering::SeqCst);
    let account = login(&cluster, "secret").await.expect("is known");
    list(&account).await.expect("may read");
    // Nobody says "wrong" but the directory.
    assert_eq!(reason(login(&cluster, "guess").await), Some(Reason::Unavailable));
    let other = cluster
        .authenticate("other@example.test", "secret", "client")
        .await;
    assert_eq!(reason(other), Some(Reason::Unavailable));
    directory.away.store(false, Ordering::SeqCst);
    assert_eq!(
        reason(login(&cluster, "guess").await),
        Some(Reason::BadCredentials)
    );
    cluster.stop().await;
}

#[tokio::test]
async fn what_the_watch_says_of_the_account_counts_before_the_directory_goes_away() {
    let (directory, cluster, account) = session().await;
    let mut subscription = account.subscribe();
    let change = AccountChange {
        account: ACCOUNT,
        end_sessions: true,
        moved_to: None,
    };
    directory.said.send_replace(Some(WatchEvent {
        accounts: vec![change],
        ..WatchEvent::default()
    }));
    subscription.ended().await;
    directory.away.store(true, Ordering::SeqCst);
    assert_eq!(reason(login(&cluster, "secret").await), Some(Reason::Unavailable));
    cluster.stop().await;
}

#[tokio::test]
async fn what_may_have_been_missed_while_the_watch_was_lost_voids_all() {
    let (directory, cluster, _) = session().await;
    directory.away.store(true, Ordering::SeqCst);
    break_watch(&directory);
    until(&cluster, 2).await;
    assert_eq!(reason(login(&cluster, "secret").await), Some(Reason::Unavailable));
    cluster.stop().await;
}

#[tokio::test]
async fn without_a_token_that_holds_nobody_is_let_in() {
    let (directory, cluster, _) = session().await;
    directory.expires_at_millis.store(now_millis(), Ordering::SeqCst);
    login(&cluster, "secret").await.expect("the directory is there");
    directory.away.store(true, Ordering::SeqCst);
    assert_eq!(reason(login(&cluster, "secret").await), Some(Reason::Unavailable));
    cluster.stop().await;
}

#[tokio::test]
async fn a_session_that_was_let_in_so_ends_when_the_directory_is_back_and_says_so() {
    let (directory, cluster, _) = session().await;
    directory.away.store(true, Ordering::SeqCst);
    let account = login(&cluster, "secret").await.expect("is known");
    let subscription = account.subscribe();
    directory.suspended.store(true, Ordering::SeqCst);
    directory.away.store(false, Ordering::SeqCst);
    break_watch(&directory);
    until(&cluster, 2).await;
    let refused = list(&account).await.expect_err("is refused");
    assert_eq!(refused.reason, Reason::Suspended);
    assert!(subscription.is_ended());
    cluster.stop().await;
}

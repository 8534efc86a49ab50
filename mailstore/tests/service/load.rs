//! What a node tells the directory of itself.

use std::time::Duration;

use rookery_mailstore::config::Config;

use crate::support::*;

#[tokio::test(flavor = "multi_thread")]
async fn what_shards_cost_is_told_and_no_more_often_than_it_has_to_be() {
    let folder = tempfile::tempdir().unwrap();
    let setup = Setup {
        config: Config {
            zone: "rack-1".to_owned(),
            ..Config::default()
        },
        ..Setup::default()
    };
    let fixture = Fixture::start_with(folder.path(), setup).await;
    fixture.put_accounts().await;
    let client = fixture.proxy();
    let mut registrations = fixture.registrations();
    let mut told = Vec::new();
    let began = std::time::Instant::now();
    let is_told = async {
        loop {
            client.deliver_to(ANN, b"Subject: x\r\n\r\n").await;
            registrations.changed().await.unwrap();
            let register = registrations.borrow_and_update().clone();
            if register.loads.is_empty() {
                continue;
            }
            told.push(began.elapsed());
            let of = |shard| register.loads.iter().find(|load| load.shard == shard).unwrap();
            if of(SHARD).operations_milli > of(OTHER_SHARD).operations_milli {
                return register;
            }
        }
    };
    let register = tokio::time::timeout(Duration::from_secs(60), is_told)
        .await
        .unwrap();
    assert_eq!(register.node.unwrap().zone, "rack-1");
    assert!(register.disk_total > register.disk_free && register.disk_free > 0);
    let seldom = told
        .windows(2)
        .all(|pair| pair[1] - pair[0] > Duration::from_secs(1));
    assert!(seldom, "{told:?}");
    fixture.stop().await;
}

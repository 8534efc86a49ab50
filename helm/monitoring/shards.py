"""Where shards are and how they fare: directory, replicas, consensus, rebalances, moves."""

from grafana import Dashboard, Panel, Query
from promql import median_and_p99, per_second, quantile, total, zero

_UNUSUAL = 'outcome!="OK"'

DASHBOARD = Dashboard("shards-and-rebalance", "Shards and rebalance", "The directory, the replicas of shards, and what moves.", (
    ("Directory", (
        Panel(
            "Who leads", "1 at the member that leads. It changes when that member stops or is not heard.", "short",
            (total("rookery_directory_leads"),), maximum=1,
        ),
        Panel(
            "Who votes", "1 at each member that votes. A 0 that stays is a member that was not taken in, or is filled anew.", "short",
            (Query("rookery_directory_votes"),), bad=1, below=True, maximum=1,
        ),
        Panel(
            "Changes of the lead", "Times a second that a member took the lead. More than now and then: members do not hear each other, or stand still.",
            "ops", (per_second("rookery_directory_leaderships_total"),),
        ),
        Panel(
            "Calls", "A second, by call.", "reqps", (per_second("rookery_directory_calls_total", "call"),), stacked=True,
        ),
        Panel(
            "Time of calls", "The slowest hundredth of each call, without the watch.", "s",
            (quantile(0.99, "rookery_directory_call_seconds", "call", 'call!="watch"', "{{call}}"),), warn=0.5, bad=2,
        ),
        Panel(
            "Calls that were not answered OK", "A second, by call and reason. `REASON_NOT_LEADER` tells the caller whom to ask.", "reqps",
            (per_second("rookery_directory_calls_total", "call, outcome", _UNUSUAL),),
        ),
        Panel(
            "Operators' calls", "A second, by call and outcome.", "reqps", (per_second("rookery_directory_admin_calls_total", "call, outcome"),),
        ),
        Panel(
            "Time of operators' calls", "The slowest hundredth. A plan of a large cluster takes seconds.", "s",
            (quantile(0.99, "rookery_directory_admin_call_seconds", "call", legend="{{call}}"),),
        ),
        Panel(
            "Who follows the watch", "Proxies and mailstores that hear of changes, by the member that they ask.", "short",
            (total("rookery_directory_watchers"),), stacked=True,
        ),
        Panel(
            "Lookups at members that follow", "A second: answered from their own state, or passed on to the one that leads.", "reqps",
            (per_second("rookery_directory_follower_lookups_total", "outcome"),),
        ),
    )),
    ("Shards", (
        Panel(
            "Shards by state", "`leaderless` must be 0. `degraded` shards serve, and lack a voting replica: a node is down, or shards are moving.", "short",
            (total("rookery_directory_shards", "state"),), stacked=True,
        ),
        Panel(
            "Replicas that lead", "By mailstore. Alike, unless their weights differ.", "short", (total("rookery_mailstore_replicas", where='standing="leader"'),),
        ),
        Panel(
            "Replicas that are being filled", "By mailstore. They fall as a rebalance goes on; one that stays is a replica that cannot be filled.", "short",
            (total("rookery_mailstore_replicas", where='standing="learner"'),),
        ),
        Panel("Replicas", "By mailstore, all of them.", "short", (total("rookery_mailstore_shards"),)),
        Panel("Bytes of replicas", "By mailstore, on disk.", "bytes", (total("rookery_mailstore_replicas_bytes"),)),
        Panel(
            "Changes", "A second, of all mailstores: leads taken, leads handed over, changes of who votes.", "ops",
            (per_second("rookery_mailstore_leaderships_total", "", legend="leads taken"),
             per_second("rookery_mailstore_handovers_total", "", legend="handed over"),
             per_second("rookery_mailstore_member_changes_total", "", legend="members changed")),
        ),
    )),
    ("Replication", (
        Panel(
            "Entries behind", "Of the groups that a node leads: how far the follower that is furthest behind is behind. It rises while a node is away; "
            "when it stays high, a follower's disk or network does not keep up.", "short",
            (total("rookery_replication_lag_entries"),), warn=1000, bad=10000,
        ),
        Panel(
            "Entries that are not applied yet", "They are agreed on, and wait for the store.", "short",
            (total("rookery_replication_unapplied_entries"),), warn=1000, bad=10000,
        ),
        Panel("Entries in the log", "Of all replicas of a node.", "short", (total("rookery_replication_log_entries"),)),
        Panel(
            "Time of calls between replicas", "The slowest hundredth of each call.", "s",
            (quantile(0.99, "rookery_replication_call_seconds", "call", legend="{{call}}"),), warn=0.5, bad=2,
        ),
        Panel(
            "Calls that failed", "A second, by call and reason. Elections and stops make a few.", "reqps",
            (per_second("rookery_replication_calls_total", "call, outcome", _UNUSUAL),),
        ),
        Panel("Open replicas", "Of a directory too.", "short", (total("rookery_replication_replicas"),)),
    )),
    ("Rebalance", (
        Panel(
            "State of the last rebalance", "The one that is 1. `paused` for days is one that somebody forgot.", "short",
            (total("rookery_directory_rebalance_state", "state"),), maximum=1,
        ),
        Panel(
            "Transfers", "Of the last rebalance, by stage. `reverted` and `skipped` say why in `rookery rebalance watch`.", "short",
            (total("rookery_directory_rebalance_transfers", "stage"),), stacked=True,
        ),
        Panel(
            "Changes of leads", "Of the last rebalance, by stage.", "short", (total("rookery_directory_rebalance_leads", "stage"),), stacked=True,
        ),
        Panel(
            "Bytes", "Planned and done.", "bytes",
            (total("rookery_directory_rebalance_planned_bytes", "", legend="planned"),
             total("rookery_directory_rebalance_done_bytes", "", legend="done")),
        ),
        Panel(
            "Transfers done", "A second, and the bytes of their shards beside it.", "ops",
            (per_second("rookery_directory_transfers_total", "", legend="transfers"),),
        ),
        Panel("Bytes of transfers done", "A second.", "Bps", (per_second("rookery_directory_transferred_bytes_total", "", legend="bytes"),)),
        Panel(
            "States under way", "By node, sent and received.", "short", (total("rookery_replication_snapshots_under_way", "instance, direction"),),
        ),
        Panel(
            "Bytes of states", "A second: received by each node, and sent. `--throttle` bounds the first.", "Bps",
            (per_second("rookery_replication_snapshot_received_bytes_total", legend="to {{instance}}"),
             per_second("rookery_replication_snapshot_sent_bytes_total", legend="from {{instance}}")),
        ),
        Panel(
            "Bytes that have come", "Of the states that are being received now.", "bytes", (total("rookery_replication_snapshot_fetched_bytes"),),
        ),
        Panel(
            "States that failed", "A second, by direction. They begin anew; when it goes on, look at the receiver's log.", "ops",
            (per_second("rookery_replication_snapshots_total", "direction", 'outcome="failed"'),),
        ),
        Panel(
            "Pauses", "A second: times that a node fetched more slowly, for what is served goes first.", "ops",
            (per_second("rookery_replication_snapshot_pauses_total"),),
        ),
        Panel(
            "Without an operator's word", "Rebalances begun and mailstores given up in the last hour.", "short",
            (Query(zero("sum by (act) (increase(rookery_directory_automatic_acts_total[1h]))"), "{{act}}"),),
        ),
    )),
    ("Accounts", (
        Panel("Moves under way", "Accounts on their way to another shard.", "short", (total("rookery_directory_account_moves", "", legend="moves"),)),
        Panel("Moves", "A second, by outcome.", "ops", (per_second("rookery_directory_account_moves_total", "outcome"),)),
        Panel(
            "How long accounts were frozen", "At the end of a move; their commands wait so long.", "s",
            median_and_p99("rookery_directory_account_frozen_seconds"), warn=1, bad=5,
        ),
    )),
))

"""The first page: is anything wrong, how much is going on, how fast, and what the nodes take for it."""

from grafana import Dashboard, Panel, Query
from promql import median_and_p99, part, per_second, quantile, total, zero

_NOT_IDLE = 'command!="IDLE"'

DASHBOARD = Dashboard("overview", "Overview", "Whether anything is wrong with the cluster, and where to look next.", (
    ("Is anything wrong", (
        Panel(
            "Nodes that do not answer", "Their metrics cannot be read. Anything but 0 is a node, or a network, to look at.", "short",
            (Query(zero("count(up == 0)"), "down"),), kind="stat", width=4, height=5, bad=1,
        ),
        Panel(
            "Shards without a leader", "Accounts of these shards cannot be read, and mail for them waits. For some seconds after a node has "
            "died that is as it should be.", "short",
            (total("rookery_directory_shards", "", 'state="leaderless"', "shards"),), kind="stat", width=4, height=5, bad=1,
        ),
        Panel(
            "Shards that are not whole", "One of their replicas does not vote. They serve, and bear one loss less than they should. While shards "
            "are moved some are always so.", "short",
            (total("rookery_directory_shards", "", 'state="degraded"', "shards"),), kind="stat", width=4, height=5, warn=1,
        ),
        Panel(
            "Members that lead the directory", "Must be 1. At 0 nobody new can log in, and mail is soon told to come later.", "short",
            (total("rookery_directory_leads", "", legend="leaders"),), kind="stat", width=4, height=5, bad=1, below=True,
        ),
        Panel(
            "Messages told to come later", "Part of all messages that were answered 4xx since a shard or the directory could not be reached. "
            "Senders come again, so nothing is lost; above 5 % people notice.", "percentunit",
            (Query(zero(
                '(sum(rate(rookery_proxy_smtp_deliveries_total{outcome="unavailable"}[$__rate_interval])) or vector(0))'
                " / (sum(rate(rookery_proxy_smtp_deliveries_total[$__rate_interval])) > 0)"
            ), "later"),), kind="stat", width=4, height=5, warn=0.01, bad=0.05,
        ),
        Panel(
            "First certificate to end", "Time that is left. Certificates for mail clients are read again when their file changes; those between "
            "nodes when a node starts.", "s",
            (Query("min(rookery_certificate_not_after_seconds) - time()", "left"),), kind="stat", width=4, height=5,
            warn=1209600, bad=259200, below=True,
        ),
    )),
    ("What is going on", (
        Panel(
            "Connections", "Open connections of clients. A sudden fall is a proxy that has gone, or a network; a sudden rise may be the "
            "clients of one that has gone.", "short",
            (total("rookery_proxy_imap_connections", "", legend="imap"), total("rookery_proxy_smtp_connections", "protocol")), stacked=True,
        ),
        Panel(
            "IMAP commands", "Answered commands a second by outcome. `no` is usual in small numbers; `bad` is what was not understood.", "reqps",
            (per_second("rookery_proxy_imap_commands_total", "outcome"),), stacked=True,
        ),
        Panel(
            "Messages", "Messages a second by what became of them. `unavailable` was told to come later.", "mps",
            (per_second("rookery_proxy_smtp_deliveries_total", "outcome"),), stacked=True,
        ),
        Panel(
            "Logins", "Logins a second over IMAP and submission. Failures that rise alone are somebody who guesses, or one client with an old "
            "password.", "reqps",
            (per_second("rookery_proxy_imap_logins_total", "outcome", legend="imap {{outcome}}"),
             per_second("rookery_proxy_smtp_logins_total", "outcome", legend="submission {{outcome}}")),
        ),
        Panel(
            "Mail received", "Bytes of messages a second.", "Bps", (per_second("rookery_proxy_smtp_received_bytes_total", "protocol"),), stacked=True,
        ),
        Panel(
            "Calls of mailstores", "Calls a second that each mailstore answers. They should be alike; one that has far more leads busier shards: "
            "`rookery status --hot` names them.", "reqps", (per_second("rookery_mailstore_calls_total"),),
        ),
    )),
    ("How fast", (
        Panel(
            "IMAP commands", "Time from the whole command to its answer, without IDLE. The protocols' page has each command.", "s",
            median_and_p99("rookery_proxy_imap_command_duration_seconds", _NOT_IDLE), warn=0.5, bad=2,
        ),
        Panel(
            "Deliveries", "Time from a message's last byte to the answer: it is on the disks of most of its replicas then.", "s",
            median_and_p99("rookery_proxy_smtp_delivery_duration_seconds"), warn=1, bad=5,
        ),
        Panel(
            "Syncs of the log", "Each acknowledged message waits for one. Slow syncs make all else slow: look at the disks first.", "s",
            (quantile(0.99, "rookery_log_sync_seconds", "instance"),), warn=0.1, bad=0.5,
        ),
    )),
    ("Nodes", (
        Panel("Processor", "Processors that each node keeps busy.", "short", (per_second("rookery_process_cpu_seconds_total"),)),
        Panel(
            "Memory", "Resident memory. It may rise up to the caches' bounds and should then stay.", "bytes",
            (total("rookery_process_resident_memory_bytes"),),
        ),
        Panel(
            "Open files", "Part of the limit. At the limit no connection is accepted and no file opened.", "percentunit",
            (Query("rookery_process_open_files / rookery_process_open_files_max"),), warn=0.6, bad=0.8, maximum=1,
        ),
        Panel(
            "Nodes that the directory knows", "By role, whether they are heard. Proxies that were scaled away stay silent until they are forgotten.",
            "short", (total("rookery_directory_nodes", "role, state"),),
        ),
        Panel(
            "Ready", "1 while `/readyz` says so. A node that runs and is not ready says there what it waits for.", "short",
            (total("rookery_process_ready"),), warn=1, below=True, maximum=1,
        ),
        Panel(
            "Versions", "Nodes by the version that they run. More than one only while an upgrade is under way.", "short",
            (Query("count by (version) (rookery_build_info)", "{{version}}"),), stacked=True,
        ),
        Panel(
            "Time since the start", "A line that falls to 0 is a restart.", "s", (Query("time() - rookery_process_start_time_seconds"),),
        ),
        Panel(
            "Probes that failed", "Requests of `/livez` and `/readyz` that were not answered 2xx, a second.", "reqps",
            (per_second("rookery_http_requests_total", where='path=~"livez|readyz",status!="2xx"'),),
        ),
        Panel(
            "Failed calls of mailstores", "Part of the calls that a person should look at: errors inside, damage, no space.", "percentunit",
            (part("rookery_mailstore_calls_total", 'outcome=~"REASON_INTERNAL|REASON_DAMAGED|REASON_NO_SPACE"'),), bad=0.001,
        ),
    )),
))

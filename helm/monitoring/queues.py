"""What waits: passwords, analyses, reads, and the runtime's tasks."""

from grafana import Dashboard, Panel, Query
from promql import median_and_p99, part, per_second, quantile, total, zero

DASHBOARD = Dashboard("queues", "Queues", "What waits for a processor or a place, and for how long.", (
    ("Passwords", (
        Panel(
            "Verifications that wait", "Part of what may wait (`directory.password_queue_max`). When it is full, logins are told to try later.",
            "percentunit", (Query("rookery_directory_password_queue_length / rookery_directory_password_queue_max"),), warn=0.25, bad=0.5, maximum=1,
        ),
        Panel("Verifications", "A second, by result. `refused`: the queue was full.", "ops", (per_second("rookery_directory_password_verifications_total", "result"),)),
        Panel(
            "Time of a verification", "Waiting and hashing. Hashing alone takes some hundredths of a second, on purpose.", "s",
            median_and_p99("rookery_directory_password_seconds"), warn=1, bad=5,
        ),
        Panel(
            "Answers from the caches", "`passwords` that were verified lately need no hashing.", "percentunit",
            (part("rookery_directory_cache_lookups_total", 'outcome="hit"', "cache"),), maximum=1,
        ),
        Panel(
            "Failed logins that are held back", "Seconds that the answer to a failed login waits: more with each failure.", "s",
            (quantile(0.99, "rookery_proxy_login_delay_seconds", "protocol", legend="{{protocol}}"),),
        ),
    )),
    ("Messages", (
        Panel(
            "Analyses that wait", "New messages that wait until their structure is known. When it grows, `mailstore.analysis_threads` is too low or messages are odd.",
            "short", (total("rookery_mailstore_analysis_queue_length"),), warn=20, bad=100,
        ),
        Panel("Time of an analysis", "Waiting and doing it.", "s", median_and_p99("rookery_mailstore_analysis_seconds"), warn=0.5, bad=2),
        Panel(
            "Unusual messages", "In the last hour: analyses that took too long, workers that were killed for it, messages kept without structure.", "short",
            (Query(zero("sum(increase(rookery_mailstore_analysis_overruns_total[1h]))"), "overruns"),
             Query(zero("sum(increase(rookery_mailstore_analysis_workers_killed_total[1h]))"), "workers killed"),
             Query(zero("sum(increase(rookery_mailstore_messages_opaque_total[1h]))"), "kept without structure")), warn=10,
        ),
    )),
    ("Reads", (
        Panel("Reads under way", "By kind. At most `mailstore.reads_max` (64) and `searches_max` (4).", "short", (total("rookery_mailstore_reads_running", "instance, kind"),)),
        Panel(
            "Reads that wait", "By kind. Searches that wait now and then are as it should be; reads that wait are a slow disk.", "short",
            (total("rookery_mailstore_read_queue_length", "instance, kind"),), warn=10, bad=50,
        ),
        Panel("Time of a search", "The slowest hundredth of searches and fetches at mailstores.", "s",
              (quantile(0.99, "rookery_mailstore_call_seconds", "call", 'call=~"search|fetch"', "{{call}}"),), warn=1, bad=5),
    )),
    ("Runtime", (
        Panel(
            "Busy", "Part of the time that the threads which run tasks were busy. Near 1 everything of the node waits.", "percentunit",
            (Query("sum by (instance) (rate(rookery_runtime_busy_seconds_total[$__rate_interval])) / sum by (instance) (rookery_runtime_workers)"),),
            warn=0.7, bad=0.9, maximum=1,
        ),
        Panel("Tasks that wait", "In the queue of all threads.", "short", (total("rookery_runtime_global_queue_length"),), warn=100, bad=1000),
        Panel("Tasks", "That are alive. They go with connections; a line that only rises is a leak.", "short", (total("rookery_runtime_alive_tasks"),)),
        Panel("Threads", "Of each process.", "short", (total("rookery_process_threads"),)),
        Panel("HTTP", "Requests a second of each endpoint, by path.", "reqps", (per_second("rookery_http_requests_total", "path"),)),
        Panel(
            "Time of HTTP", "The slowest hundredth, by path.", "s", (quantile(0.99, "rookery_http_request_seconds", "path", legend="{{path}}"),), warn=0.5, bad=2,
        ),
    )),
))

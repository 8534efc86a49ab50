"""Disks, the log, RocksDB, and whether what lies there is whole."""

from grafana import Dashboard, Panel, Query
from promql import part, per_second, quantile, total, zero

DASHBOARD = Dashboard("storage", "Storage", "Disks, logs and stores of mailstores and directories.", (
    ("Disks", (
        Panel(
            "Free", "Below `mailstore.disk_free_min` (256 MiB) new mail is refused.", "bytes", (total("rookery_mailstore_disk_free_bytes"),),
            warn=10737418240, bad=1073741824, below=True,
        ),
        Panel(
            "Free part", "Of the whole disk.", "percentunit", (Query("rookery_mailstore_disk_free_bytes / rookery_mailstore_disk_bytes"),),
            warn=0.2, bad=0.05, below=True, maximum=1,
        ),
        Panel(
            "Deliveries by outcome", "Recipients a second as mailstores answered them. `refused` has those for whom there is no space.", "ops",
            (per_second("rookery_mailstore_deliveries_total", "outcome"),),
        ),
    )),
    ("Log", (
        Panel(
            "Time of syncs", "The slowest hundredth. Every acknowledged message waits for one.", "s",
            (quantile(0.99, "rookery_log_sync_seconds", "instance", legend="{{instance}}"),), warn=0.1, bad=0.5,
        ),
        Panel("Syncs", "A second.", "ops", (per_second("rookery_log_sync_seconds_count"),)),
        Panel(
            "Records of a sync", "On average. It rises with load, for one sync serves all that waits.", "short",
            (Query("sum by (instance) (rate(rookery_log_sync_records_sum[$__rate_interval])) / sum by (instance) "
                   "(rate(rookery_log_sync_records_count[$__rate_interval]))"),),
        ),
        Panel(
            "Length of the log", "It is cut by what the store has flushed, at `mailstore.log_size_max` (128 MiB). When it goes on growing, flushes fail.",
            "bytes", (total("rookery_log_bytes"),), warn=536870912, bad=2147483648,
        ),
    )),
    ("Files", (
        Panel("Rows", "Live files of keys, by column.", "bytes", (total("rookery_store_sst_bytes", "column"),), stacked=True),
        Panel("Bodies", "Files of messages, by node.", "bytes", (total("rookery_store_blob_bytes"),), stacked=True),
        Panel(
            "Garbage among bodies", "Part that nobody needs. From a fifth on it is written anew; more that stays is a node that does not get to it.",
            "percentunit", (Query(zero("rookery_store_blob_garbage_bytes / (rookery_store_blob_bytes > 0)")),), warn=0.3, bad=0.5, maximum=1,
        ),
    )),
    ("RocksDB", (
        Panel(
            "Writes are slowed down", "To so many bytes a second, for compactions do not keep up. 0: they are not.", "Bps",
            (total("rookery_store_delayed_write_bytes_per_second"),), warn=1,
        ),
        Panel("Writes are stopped", "1 while nothing is written: the node stands still.", "short", (total("rookery_store_write_stopped"),), bad=1, maximum=1),
        Panel(
            "Compaction that waits", "Bytes, by column.", "bytes", (total("rookery_store_pending_compaction_bytes", "column"),), warn=34359738368, bad=68719476736,
        ),
        Panel(
            "Work in the background", "Compactions and flushes under way.", "short",
            (total("rookery_store_running_compactions", legend="compactions {{instance}}"), total("rookery_store_running_flushes", legend="flushes {{instance}}")),
        ),
        Panel(
            "Errors in the background", "In the last hour. Any is a disk to look at.", "short",
            (Query(zero("sum by (instance) (increase(rookery_store_background_errors_total[1h]))")),), bad=1,
        ),
        Panel("Memory for writes", "Of tables that are not flushed yet, by column.", "bytes", (total("rookery_store_memtable_bytes", "column"),), stacked=True),
        Panel(
            "Block cache", "Part of its capacity. Usually full.", "percentunit",
            (Query(zero("rookery_store_block_cache_bytes / (rookery_store_block_cache_max_bytes > 0)")),), maximum=1,
        ),
        Panel("Block cache, pinned", "Bytes that cannot be given up.", "bytes", (total("rookery_store_block_cache_pinned_bytes"),)),
        Panel(
            "Answers from the block cache", "By what was looked for. `data` that falls is a working set that has outgrown the cache.", "percentunit",
            (part("rookery_store_block_cache_lookups_total", 'outcome="hit"', "part"),), maximum=1,
        ),
    )),
    ("Whole", (
        Panel(
            "Damage", "Places that did not fit their checksums since the node started. Anything but 0: the runbook `store-damaged`.", "short",
            (Query(zero("sum by (instance, file) (rookery_replication_damages_total)"), "{{instance}} {{file}}"),), bad=1,
        ),
        Panel(
            "Time since all was read", "Each node reads all of its store once a week. 0: not known yet.", "s",
            (total("rookery_replication_scrub_age_seconds"),), warn=1209600, bad=2592000,
        ),
        Panel("Read to find damage", "Bytes a second.", "Bps", (per_second("rookery_replication_scrubbed_bytes_total"),)),
    )),
    ("Calls", (
        Panel("Calls", "A second, by call.", "reqps", (per_second("rookery_mailstore_calls_total", "call"),), stacked=True),
        Panel(
            "Time of calls", "The slowest hundredth of each call, without those that last by nature.", "s",
            (quantile(0.99, "rookery_mailstore_call_seconds", "call", 'call!~"watch|export_.*"', "{{call}}"),), warn=0.5, bad=2,
        ),
        Panel(
            "Calls that were not answered OK", "A second, by reason. `REASON_INTERNAL`, `REASON_DAMAGED` and `REASON_NO_SPACE` want a person.", "reqps",
            (per_second("rookery_mailstore_calls_total", "outcome", 'outcome!="OK"'),),
        ),
        Panel(
            "Answers from caches", "`tokens` that were verified, `mailboxes` that are large, `analyses` of messages.", "percentunit",
            (part("rookery_mailstore_cache_lookups_total", 'outcome="hit"', "cache"),), maximum=1,
        ),
        Panel("Recipients", "Recipients of deliveries a second.", "ops", (per_second("rookery_mailstore_recipients_total"),)),
        Panel(
            "Watches that were refreshed", "A second: proxies that had fallen behind a shard's changes.", "ops", (per_second("rookery_mailstore_watch_refreshes_total"),),
        ),
    )),
))

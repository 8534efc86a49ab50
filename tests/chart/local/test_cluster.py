"""The rendered cluster, run: it becomes ready, takes and gives mail, grows and shrinks with mail flowing, and stops cleanly."""

import imaplib
import unittest

import chart
from local import mail
from local.release import Release
from test_rules import exposed, named

ACCOUNTS = [f"user{number}@example.org" for number in range(1, 4)]


class Cluster(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.release = Release("values-cluster.yaml", {"mailstore": {"zoneFrom": "machine", "config": {"log_size_max": 268435456, "disk_kept": "64MiB"}}})
        cls.addClassCleanup(cls.release.close)
        cls.release.operate("domain", "add", "example.org")
        for account in ACCOUNTS:
            cls.release.operate("account", "add", account, text=mail.PASSWORD + "\n")

    def assert_kept(self, traffic: mail.Traffic, number: int):
        """What was acknowledged is there, once, whichever proxy is asked."""
        for proxy in self.release.of("proxy"):
            for account, acknowledged in traffic.acknowledged.items():
                with mail.log_in(proxy, account, self.release.ca) as session:
                    held = mail.subjects(session)
                self.assertLessEqual(acknowledged, set(held), "acknowledged, and lost")
                self.assertEqual([subject for subject, times in held.items() if times > 1], [], "stored twice")
        self.assertEqual(traffic.refused, [], "nothing was down, so nobody had to be told to come later")
        self.assertGreater(number, 20)

    def test_a_release_passes_its_own_test(self):
        said = self.release.job("check")
        self.assertIn("imap greets", said)
        self.assertIn("all is well", said)

    def test_pods_live_and_are_known_by_their_names(self):
        self.assertEqual({name: len(self.release.of(name)) for name in ("directory", "mailstore", "proxy")},
                         {"directory": 3, "mailstore": 3, "proxy": 2})
        for pod in self.release.pods.values():
            self.assertTrue(pod.probe("livenessProbe"), pod.name)
        listed = self.release.operate("node", "list")
        for pod in [*self.release.of("directory"), *self.release.of("mailstore")]:
            self.assertIn(pod.name, listed)

    def test_metrics_of_the_rules_are_served(self):
        mail.send(self.release.of("proxy")[0], "smtp", ACCOUNTS[0], "counted")
        served = set()
        for pod in self.release.pods.values():
            served |= named(pod.get("/metrics")[1])
        self.assertLessEqual(served, exposed())
        for wanted in ("rookery_directory_leads", "rookery_directory_votes", "rookery_mailstore_disk_free_bytes",
                       "rookery_log_sync_seconds", "rookery_proxy_smtp_deliveries_total"):
            self.assertIn(wanted, served)

    def test_a_proxy_that_stops_ends_its_sessions_in_order(self):
        document = chart.find(self.release.documents, "Deployment", "mail-rookery-proxy")
        first = self.release.of("proxy")[0]
        session = mail.log_in(first, ACCOUNTS[0], self.release.ca)
        self.addCleanup(session.shutdown)
        session.select("INBOX")
        took = first.stop()
        self.assertLess(took, 15, "sessions that are idle end at once")
        with self.assertRaises((imaplib.IMAP4.abort, imaplib.IMAP4.error, OSError)) as ended:
            session.noop()
        self.assertIn("BYE", str(session.untagged_responses) + str(ended.exception))
        # Another takes its place.
        self.release.start(first.name, document, 0).wait_ready()
        mail.send(self.release.of("proxy")[0], "lmtp", ACCOUNTS[0], "after")

    def test_growing_and_shrinking_loses_nothing_and_stores_nothing_twice(self):
        proxies = self.release.of("proxy")
        staying = mail.log_in(proxies[0], ACCOUNTS[0], self.release.ca)
        self.addCleanup(staying.shutdown)
        staying.select("INBOX")
        traffic = mail.Traffic(proxies, ACCOUNTS, "growing")
        try:
            self.release.upgrade({"mailstore": {"replicas": 5}})
            shards = self.release.operate("shard", "list")
            self.assertIn("mail-rookery-mailstore-4", shards)
            self.release.upgrade({"mailstore": {"replicas": 3}})
            # One comes back with the volume that it had.
            self.release.upgrade({"mailstore": {"replicas": 4}})
            self.assertIn("mail-rookery-mailstore-3", self.release.operate("shard", "list"))
            self.release.upgrade({"mailstore": {"replicas": 3}})
            # A second time, as after an upgrade that broke off: nothing is left to be done.
            self.assertIn("no mailstore is taken away", self.release.job("drain"))
            self.assertIn("all 3 mailstores are there", self.release.job("settle"))
        finally:
            number = traffic.stop()
        for gone in ("mail-rookery-mailstore-3", "mail-rookery-mailstore-4"):
            self.assertNotIn(gone, self.release.operate("shard", "list") + self.release.operate("node", "list"))
        self.assert_kept(traffic, number)
        # The session that was there before is there, and sees what came.
        self.assertLessEqual(traffic.acknowledged[ACCOUNTS[0]], set(mail.subjects(staying)))

    def test_restarting_one_after_the_other_loses_nothing(self):
        traffic = mail.Traffic(self.release.of("proxy"), ACCOUNTS, "restarting")
        try:
            for component in ("mailstore", "directory"):
                document = chart.find(self.release.documents, "StatefulSet", f"mail-rookery-{component}")
                for ordinal in (2, 1, 0):
                    name = f"mail-rookery-{component}-{ordinal}"
                    self.release.pods[name].stop()
                    self.release.start(name, document, ordinal).wait_ready()
        finally:
            number = traffic.stop()
        self.assert_kept(traffic, number)

    def test_what_cannot_be_emptied_is_not_taken_away(self):
        # Three replicas on two mailstores: values that the chart refuses itself, as far as it knows.
        with self.assertRaisesRegex(AssertionError, "Nothing is changed") as refused:
            self.release.job("drain", environment={"WANTED": "2"})
        undo = "rookery node drain mail-rookery-mailstore-2 --undo"
        self.assertIn(undo, str(refused.exception))
        mail.send(self.release.of("proxy")[0], "lmtp", ACCOUNTS[0], "served meanwhile")
        self.release.operate(*undo.split()[1:])
        self.assertIn("all 3 mailstores are there", self.release.job("settle"))

    def test_z_all_of_it_stops_cleanly(self):
        """Last, by its name."""
        self.release.stop(list(self.release.pods))
        self.assertEqual(self.release.pods, {})


if __name__ == "__main__":
    unittest.main()

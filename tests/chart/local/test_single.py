"""The rendered single node, run: it becomes ready, takes and gives mail, and comes back from its volume."""

import unittest

import chart
from local import mail
from local.release import Release

ACCOUNT = "anna@example.org"


class Single(unittest.TestCase):
    def test_mail_is_there_after_a_restart(self):
        release = Release("values-single.yaml")
        self.addCleanup(release.close)
        release.operate("domain", "add", "example.org")
        release.operate("account", "add", ACCOUNT, text=mail.PASSWORD + "\n")
        pod = release.of("single")[0]
        mail.send(pod, "smtp", ACCOUNT, "kept")
        self.assertIn("all is well", release.job("check"))
        pod.stop()
        again = release.start(pod.name, chart.find(release.documents, "StatefulSet", "mail-rookery"), 0)
        again.wait_ready()
        with mail.log_in(again, ACCOUNT, release.ca) as session:
            self.assertEqual(mail.subjects(session), {"kept": 1})
        again.stop()


if __name__ == "__main__":
    unittest.main()

"""A directory of one member becomes one of three as helm/README.md says: new members first, then the old one is restarted by hand."""

import unittest

import chart
from local.pod import until
from local.release import Release

SET = "mail-rookery-directory"


class Directory(unittest.TestCase):
    def test_one_member_becomes_three(self):
        release = Release("values-cluster.yaml", {"directory": {"replicas": 1}})
        self.addCleanup(release.close)
        release.operate("domain", "add", "example.org")
        release.documents = release.render({"directory": {"replicas": 3}})
        document = chart.find(release.documents, "StatefulSet", SET)
        release.start(f"{SET}-1", document, 1)
        release.start(f"{SET}-2", document, 2)
        # The one that knows of no others yet serves on, and Kubernetes would wait for them before it restarted that.
        self.assertTrue(release.pods[f"{SET}-0"].probe("readinessProbe"))
        release.pods[f"{SET}-0"].stop()
        release.start(f"{SET}-0", document, 0)
        for pod in release.of("directory"):
            pod.wait_ready()
            until(f"{pod.name} votes", 30, lambda pod=pod: "rookery_directory_votes 1" in pod.get("/metrics")[1], pod.container.said)
        self.assertIn("example.org", release.operate("domain", "list"))
        # Any of them may go now.
        release.stop([f"{SET}-0"])
        release.operate("domain", "add", "example.net")


if __name__ == "__main__":
    unittest.main()

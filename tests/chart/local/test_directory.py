"""A directory of one member becomes one of three as Kubernetes does it: new members first, then the old one, once they are ready."""

import unittest

import chart
from local.pod import until
from local.release import Release

SET = "mail-rookery-directory"


class Directory(unittest.TestCase):
    def test_one_member_becomes_three(self):
        release = Release("values-cluster.yaml", {"directory": {"replicas": 1, "authority": {"enabled": True}}})
        self.addCleanup(release.close)
        release.operate("domain", "add", "example.org")
        release.documents = release.render({"directory": {"replicas": 3, "authority": {"enabled": True}}})
        document = chart.find(release.documents, "StatefulSet", SET)
        release.start(f"{SET}-1", document, 1)
        release.start(f"{SET}-2", document, 2)
        # The one that knows of no others yet serves on. Kubernetes restarts it once they are ready.
        for ordinal in (2, 1):
            release.pods[f"{SET}-{ordinal}"].wait_ready()
            self.assertIn("rookery_directory_votes 0", release.pods[f"{SET}-{ordinal}"].get("/metrics")[1])
        self.assertTrue(release.pods[f"{SET}-0"].probe("readinessProbe"))
        release.operate("domain", "add", "example.com")
        release.pods[f"{SET}-0"].stop()
        release.start(f"{SET}-0", document, 0)
        for pod in release.of("directory"):
            pod.wait_ready()
            until(f"{pod.name} votes", 30, lambda pod=pod: "rookery_directory_votes 1" in pod.get("/metrics")[1], pod.container.said)
        self.assertIn("example.org", release.operate("domain", "list"))
        # Its status names pods where they are found, and it issues certificates by the key that it was given.
        named = f"{SET}-1.{SET}.{chart.NAMESPACE}.svc.cluster.local:8080"
        until("the new member is listed", 30, lambda: named in release.operate("node", "list"))
        added = release.operate("node", "add", "--role", "mailstore", "--id", "elsewhere-1")
        self.assertIn("elsewhere-1", added + release.operate("node", "list"))
        # Any of them may go now.
        release.stop([f"{SET}-0"])
        release.operate("domain", "add", "example.net")


if __name__ == "__main__":
    unittest.main()

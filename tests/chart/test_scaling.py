"""Scaling changes numbers and nothing else, so that no pod that stays is restarted."""

import unittest

import chart


class Scaling(unittest.TestCase):
    def test_pods_that_stay_stay_as_they_are(self):
        for name in ("values-cluster", "secrets", "cert-manager"):
            values = chart.cases()[name]
            few = chart.render(values)
            many = chart.render(values, ("mailstore.replicas=5", "proxy.replicas=3"))
            with self.subTest(values=name):
                for one in few:
                    if one["kind"] in ("Deployment", "StatefulSet"):
                        other = chart.find(many, one["kind"], one["metadata"]["name"])
                        self.assertEqual(chart.pod_of(one), chart.pod_of(other), one["metadata"]["name"])

    def test_volumes_outlive_what_is_taken_away(self):
        for values in chart.cases().values():
            for one in chart.render(values):
                if one["kind"] == "StatefulSet" and "volumeClaimTemplates" in one["spec"]:
                    policy = one["spec"]["persistentVolumeClaimRetentionPolicy"]
                    self.assertEqual(policy, {"whenScaled": "Retain", "whenDeleted": "Retain"})

    def test_the_jobs_are_told_how_many_are_wanted(self):
        documents = chart.render(chart.cases()["values-cluster"], ("mailstore.replicas=7",))
        for name, hooks in (("drain", "pre-upgrade,pre-rollback"), ("settle", "post-upgrade,post-rollback")):
            job = chart.find(documents, "Job", f"mail-rookery-{name}")
            self.assertEqual(job["metadata"]["annotations"]["helm.sh/hook"], hooks)
            self.assertEqual(job["spec"]["backoffLimit"], 0)
            environment = {one["name"]: one.get("value") for one in chart.pod_of(job)["spec"]["containers"][0]["env"]}
            self.assertEqual(environment["WANTED"], "7")
            self.assertGreater(job["spec"]["activeDeadlineSeconds"], int(environment["DEADLINE"]))


if __name__ == "__main__":
    unittest.main()

"""Every pod passes the Pod Security profile `restricted`, writes only to its volumes, and has no right in Kubernetes."""

import unittest

import chart

# The volumes that the profile allows, as far as the chart has use for them.
VOLUMES = {"configMap", "csi", "emptyDir", "persistentVolumeClaim", "projected", "secret"}


def all_pods():
    """Each pod of each case, with words that say which it is."""
    for name, values in chart.cases().items():
        for document in chart.render(values):
            pod = chart.pod_of(document)
            if pod:
                yield f"{name}: {document['kind']} {document['metadata']['name']}", pod["spec"]


class Restricted(unittest.TestCase):
    def test_pods_run_as_a_plain_user(self):
        for where, spec in all_pods():
            with self.subTest(pod=where):
                security = spec["securityContext"]
                self.assertIs(security["runAsNonRoot"], True)
                self.assertGreater(security["runAsUser"], 0)
                self.assertEqual(security["seccompProfile"]["type"], "RuntimeDefault")
                for key in ("hostNetwork", "hostPID", "hostIPC"):
                    self.assertNotIn(key, spec)

    def test_containers_can_gain_nothing(self):
        for where, spec in all_pods():
            self.assertNotIn("initContainers", spec)
            for container in spec["containers"]:
                with self.subTest(pod=where):
                    security = container["securityContext"]
                    self.assertIs(security["allowPrivilegeEscalation"], False)
                    self.assertIs(security["readOnlyRootFilesystem"], True)
                    self.assertEqual(security["capabilities"], {"drop": ["ALL"]})
                    self.assertNotIn("privileged", security)
                    for port in container.get("ports", []):
                        self.assertNotIn("hostPort", port)
                        self.assertGreater(port["containerPort"], 1023, "a plain user cannot listen there")

    def test_volumes_are_of_allowed_kinds(self):
        for where, spec in all_pods():
            with self.subTest(pod=where):
                kinds = {kind for volume in spec["volumes"] for kind in volume if kind != "name"}
                self.assertLessEqual(kinds, VOLUMES)

    def test_nobody_is_given_a_token_or_a_right(self):
        for where, spec in all_pods():
            with self.subTest(pod=where):
                self.assertIs(spec["automountServiceAccountToken"], False)
                self.assertIs(spec["enableServiceLinks"], False)
        for name, values in chart.cases().items():
            documents = chart.render(values)
            with self.subTest(values=name):
                accounts = [one for one in documents if one["kind"] == "ServiceAccount"]
                self.assertTrue(all(one["automountServiceAccountToken"] is False for one in accounts))
                self.assertFalse([one for one in documents if "Role" in one["kind"]])

    def test_the_ca_key_is_in_no_pod(self):
        for where, spec in all_pods():
            with self.subTest(pod=where):
                ca = next(volume for volume in spec["volumes"] if volume["name"] == "ca")
                self.assertEqual([item["path"] for item in ca["secret"]["items"]], ["ca.pem"])


if __name__ == "__main__":
    unittest.main()

"""Nodes' certificates have the names that the program looks for, by whichever way they come."""

import unittest

import chart

CLUSTER = chart.CHART / "values-cluster.yaml"


def names_by_driver(documents: list[dict]) -> dict[str, list[str]]:
    """The names that the CSI driver puts into the certificates of a component's first pod."""
    found = {}
    for document in documents:
        if document["kind"] in ("Deployment", "StatefulSet"):
            pod = document["metadata"]["name"] + "-0"
            volume = next(one for one in chart.pod_of(document)["spec"]["volumes"] if one["name"] == "node")
            found[pod] = volume["csi"]["volumeAttributes"]["csi.cert-manager.io/dns-names"].replace("${POD_NAME}", pod).split(",")
    return found


class Certificates(unittest.TestCase):
    def test_they_say_who_a_node_is(self):
        names = names_by_driver(chart.render((CLUSTER,)))
        for role in ("directory", "mailstore", "proxy"):
            pod = f"mail-rookery-{role}-0"
            self.assertIn(f"{pod}.{role}.0123456789ab.rookery.internal", names[pod])
            self.assertIn(f"{role}.0123456789ab.rookery.internal", names[pod])

    def test_operators_reach_the_directory_by_them(self):
        documents = chart.render((CLUSTER,))
        job = chart.find(documents, "Job", "mail-rookery-drain")
        environment = {one["name"]: one.get("value") for one in chart.pod_of(job)["spec"]["containers"][0]["env"]}
        first = environment["ROOKERY_ADMIN"].split(",")[0].removeprefix("https://").removesuffix(":7443")
        names = names_by_driver(documents)["mail-rookery-directory-0"]
        self.assertIn(first, names)
        self.assertIn("localhost", names, "through a forwarded port")

    def test_both_ways_give_the_same(self):
        driver = names_by_driver(chart.render((CLUSTER,)))
        made = chart.render((CLUSTER,), ("nodeCertificates.source=certManager",))
        for pod, names in driver.items():
            self.assertEqual(chart.find(made, "Certificate", f"{pod}-node")["spec"]["dnsNames"], names)

    def test_each_node_that_may_be_has_one(self):
        documents = chart.render(chart.cases()["cert-manager"])
        made = {one["metadata"]["name"] for one in documents if one["kind"] == "Certificate"}
        wanted = {"mail-rookery-directory-0-node", "mail-example-org-tls"}
        wanted |= {f"mail-rookery-mailstore-{ordinal}-node" for ordinal in range(3)}
        wanted |= {f"mail-rookery-proxy-{ordinal}-node" for ordinal in range(4)}
        self.assertEqual(made, wanted)

    def test_a_pod_finds_its_own_among_the_secrets(self):
        documents = chart.render(chart.cases()["secrets"])
        for role in ("directory", "mailstore", "proxy"):
            spec = chart.pod_of(chart.find(documents, "StatefulSet", f"post-office-{role}"))["spec"]
            paths = {
                item["path"] for volume in spec["volumes"] if volume["name"] == "node"
                for source in volume["projected"]["sources"] for item in source["secret"]["items"]
            }
            mount = next(one["mountPath"] for one in spec["containers"][0]["volumeMounts"] if one["name"] == "node")
            environment = {one["name"]: one.get("value") for one in spec["containers"][0]["env"]}
            for variable in ("ROOKERY__NODE__CERTIFICATE", "ROOKERY__NODE__KEY"):
                path = environment[variable].replace("$(POD_NAME)", f"post-office-{role}-2")
                self.assertIn(path.removeprefix(mount + "/"), paths)


if __name__ == "__main__":
    unittest.main()

"""What objects say of each other is true: ports, Services, ConfigMaps, accounts, claims, selectors."""

import unittest

import chart

class References(unittest.TestCase):
    def each(self):
        return [chart.render(values) for values in chart.cases().values()]

    def names(self, documents, kind):
        return {one["metadata"]["name"] for one in documents if one["kind"] == kind}

    def workloads(self, documents):
        return [one for one in documents if one["kind"] in ("Deployment", "StatefulSet")]

    def test_pods_refer_to_what_is_there(self):
        for documents in self.each():
            for document in documents:
                pod = chart.pod_of(document)
                if not pod:
                    continue
                spec = pod["spec"]
                self.assertIn(spec["serviceAccountName"], self.names(documents, "ServiceAccount"))
                claims = {claim["metadata"]["name"] for claim in document["spec"].get("volumeClaimTemplates", [])}
                volumes = {volume["name"] for volume in spec["volumes"]} | claims
                for container in spec["containers"]:
                    self.assertEqual({mount["name"] for mount in container["volumeMounts"]}, volumes)
                for volume in spec["volumes"]:
                    if "configMap" in volume:
                        self.assertIn(volume["configMap"]["name"], self.names(documents, "ConfigMap"))

    def test_services_lead_to_ports_of_pods(self):
        for documents in self.each():
            for service in (one for one in documents if one["kind"] == "Service"):
                wanted = service["spec"]["selector"].items()
                pods = [
                    chart.pod_of(one) for one in self.workloads(documents)
                    if wanted <= chart.pod_of(one)["metadata"]["labels"].items()
                ]
                self.assertEqual(len(pods), 1, service["metadata"]["name"])
                ports = {port["name"] for port in pods[0]["spec"]["containers"][0]["ports"]}
                self.assertLessEqual({port["targetPort"] for port in service["spec"]["ports"]}, ports)

    def test_stateful_sets_have_their_service(self):
        for documents in self.each():
            for one in documents:
                if one["kind"] == "StatefulSet":
                    service = chart.find(documents, "Service", one["spec"]["serviceName"])
                    self.assertEqual(service["spec"]["clusterIP"], "None")
                    self.assertIs(service["spec"]["publishNotReadyAddresses"], True)

    def test_selectors_are_the_pods_labels(self):
        for documents in self.each():
            for one in self.workloads(documents):
                labels = chart.pod_of(one)["metadata"]["labels"]
                self.assertEqual(one["spec"]["selector"]["matchLabels"], labels)
                # What changes with each version of the chart would restart every pod.
                self.assertFalse([key for key in labels if "version" in key or "chart" in key])

    def test_a_pod_has_longer_to_stop_than_what_it_does_then(self):
        for documents in self.each():
            for one in self.workloads(documents):
                spec = chart.pod_of(one)["spec"]
                container = spec["containers"][0]
                if container["args"][0] not in ("proxy", "serve"):
                    continue
                delay = container.get("lifecycle", {}).get("preStop", {}).get("sleep", {}).get("seconds", 0)
                configuration = chart.find(documents, "ConfigMap", one["metadata"]["name"])["data"]["rookery.toml"]
                drain = int(configuration.partition('drain = "')[2].partition("s")[0])
                patience = int(configuration.partition('patience = "')[2].partition("s")[0])
                self.assertGreater(drain, patience)
                # The program waits 12 seconds at most for what follows its sessions.
                self.assertGreaterEqual(spec["terminationGracePeriodSeconds"], delay + drain + 12)


if __name__ == "__main__":
    unittest.main()

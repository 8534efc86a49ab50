"""Values that are wrong are refused, with a word that says which."""

import unittest

import chart

CLUSTER = (chart.CHART / "values-cluster.yaml",)
SINGLE = (chart.CHART / "values-single.yaml",)

# What is set, and what the refusal must name.
REFUSED = [
    ("mailstores=3", "mailstores"),
    ("mailstore.replica=3", "replica"),
    ("mailstore.replicas=three", "replicas"),
    ("mailstore.replicas=0", "replicas"),
    ("mailstore.config.wieght=3", "wieght"),
    ("mailstore.config.log_size_max=much", "log_size_max"),
    ("mailstore.persistence.size=big", "size"),
    ("directory.replicas=2", "replicas"),
    ("directory.config.shards=3", "shards"),
    ("directory.config.automatic.band_percent=1", "band_percent"),
    ("cluster.shardReplicas=2", "shardReplicas"),
    ("cluster.id=Upper", "id"),
    ("proxy.config.hostname=x", "hostname"),
    ("proxy.hostname=two words", "hostname"),
    ("proxy.service.ports.imap=0", "imap"),
    ("proxy.service.proxyProtocol.from[0]=everywhere", "proxyProtocol"),
    ("proxy.config.proxy_protocol_from[0]=192.0.2.1", "proxy_protocol_from"),
    ("directory.config.authority_key=/key", "authority_key"),
    ("proxy.service.ports.pop3=110", "pop3"),
    ("proxy.maxUnavailable=none", "maxUnavailable"),
    ("nodeCertificates.source=none", "source"),
    ("nodeCertificates.duration=1 year", "duration"),
    ("networkPolicy.clients[0].cidr=192.0.2.0/24", "cidr"),
    ("scaling.throttle=fast", "throttle"),
    ("mode=pair", "mode"),
    # What goes together or does not is told by the chart's own checks.
    ("cluster.id=", "cluster.id is not set"),
    ("proxy.hostname=", "proxy.hostname is not set"),
    ("mailstore.replicas=2", "cluster.shardReplicas"),
    ("cluster.expectedMailstores=1", "cluster.expectedMailstores"),
    ("proxy.drainSeconds=30", "proxy.patienceSeconds"),
    ("proxy.autoscaling.minReplicas=11", "proxy.autoscaling.maxReplicas"),
    ("proxy.lmtp.enabled=true", "proxy.lmtp.from"),
    ("nodeCertificates.issuer.kind=ClusterIssuer", "nodeCertificates.issuer.create"),
    ("nodeCertificates.issuer.create=false", "nodeCertificates.issuer.name"),
    ("proxy.tls.certManager.issuer.name=", "proxy.tls.certManager.issuer.name"),
]


class Refusals(unittest.TestCase):
    def assert_refused(self, values, settings, word):
        for version in chart.HELMS:
            with self.subTest(settings=settings, helm=version):
                arguments = chart.arguments_of(values, settings)
                made = chart.helm(version, "template", chart.RELEASE, str(chart.CHART), *arguments)
                self.assertNotEqual(made.returncode, 0, "it was taken")
                self.assertIn(word, made.stderr)

    def test_wrong_values_are_named(self):
        for setting, word in REFUSED:
            self.assert_refused(CLUSTER, (setting,), word)

    def test_a_node_without_a_certificate_is_refused(self):
        settings = ("nodeCertificates.source=secrets", "mailstore.replicas=5", "mailstore.nodesMax=4")
        self.assert_refused(CLUSTER, settings, "nodesMax")

    def test_a_name_that_no_node_can_have_is_refused(self):
        for version in chart.HELMS:
            made = chart.helm(version, "template", "mail.example", str(chart.CHART), *chart.arguments_of(CLUSTER, ()))
            self.assertNotEqual(made.returncode, 0)
            self.assertIn("release's name", made.stderr)

    def test_a_service_without_ports_is_refused(self):
        names = ("imap", "imaps", "smtp", "submission", "submissions")
        self.assert_refused(CLUSTER, tuple(f"proxy.service.ports.{name}=null" for name in names), "proxy.service.ports")

    def test_a_single_node_has_no_second_replica(self):
        self.assert_refused(SINGLE, ("cluster.shardReplicas=3",), "cluster.shardReplicas")


if __name__ == "__main__":
    unittest.main()

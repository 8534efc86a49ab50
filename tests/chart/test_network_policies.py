"""The network policies let through what the roles need, and nothing else."""

import unittest

import chart

ROLES = ("directory", "mailstore", "proxy", "operator")

# Who calls whom at which port, by the names of ports.
NEEDED = {
    ("mailstore", "directory", 7400), ("proxy", "directory", 7400), ("directory", "directory", 7400),
    ("proxy", "mailstore", 7400), ("directory", "mailstore", 7400), ("mailstore", "mailstore", 7400),
    ("operator", "directory", 7443),
    ("operator", "proxy", 10143), ("operator", "proxy", 10025),
}
PORTS = (7400, 7443, 8080, 10143, 10025)


class NetworkPolicies(unittest.TestCase):
    def setUp(self):
        documents = chart.render(chart.cases()["values-cluster"])
        self.policies = {role: chart.find(documents, "NetworkPolicy", f"mail-rookery-{role}")["spec"] for role in ROLES}
        self.numbers = {
            role: {port["name"]: port["containerPort"] for port in chart.pod_of(
                next(one for one in documents if one["metadata"]["name"] == f"mail-rookery-{role}" and chart.pod_of(one))
            )["spec"]["containers"][0]["ports"]}
            for role in ("directory", "mailstore", "proxy")
        }

    def lets(self, rules: list[dict], direction: str, peer: str, port: int, role: str) -> bool:
        """Whether rules name a peer's pods and a port; networks of addresses are not of pods."""
        for rule in rules:
            ports = {self.numbers.get(role, {}).get(one["port"], one["port"]) for one in rule["ports"]}
            peers = {
                one["podSelector"]["matchLabels"]["app.kubernetes.io/component"]
                for one in rule.get(direction, []) if "podSelector" in one
            }
            if port in ports and peer in peers:
                return True
        return False

    def test_the_roles_may_call_each_other_as_they_do(self):
        for caller in ROLES:
            for called in ("directory", "mailstore", "proxy"):
                for port in PORTS:
                    may = self.lets(self.policies[called]["ingress"], "from", caller, port, called) and self.lets(
                        self.policies[caller]["egress"], "to", called, port, called)
                    with self.subTest(caller=caller, called=called, port=port):
                        self.assertEqual(may, (caller, called, port) in NEEDED)

    def test_mail_clients_come_from_anywhere_but_only_to_mail_ports(self):
        for role in ("directory", "mailstore", "proxy"):
            for rule in self.policies[role]["ingress"]:
                if any("ipBlock" in one for one in rule["from"]):
                    self.assertEqual(role, "proxy")
                    self.assertLessEqual({one["port"] for one in rule["ports"]}, {"imap", "imaps", "smtp", "submission", "submissions"})

    def test_nobody_is_let_in_by_a_rule_without_peers(self):
        for policy in self.policies.values():
            self.assertEqual(policy["policyTypes"], ["Ingress", "Egress"])
            for rule in policy["ingress"]:
                self.assertTrue(rule["from"] and rule["ports"])

    def test_relays_alone_come_to_lmtp(self):
        documents = chart.render(chart.cases()["secrets"])
        rules = chart.find(documents, "NetworkPolicy", "post-office-proxy")["spec"]["ingress"]
        lmtp = [rule for rule in rules if {"port": "lmtp"} in rule["ports"]]
        self.assertEqual(lmtp, [{"ports": [{"port": "lmtp"}], "from": [{"podSelector": {"matchLabels": {"app": "relay"}}}]}])


if __name__ == "__main__":
    unittest.main()

"""The configuration files are ones that the program reads: TOML, with keys that it knows, and the same members everywhere."""

import tomllib
import unittest

import chart

SECTIONS = {
    "directory": {"node", "log", "directory"},
    "mailstore": {"node", "log", "mailstore"},
    "proxy": {"node", "log", "proxy"},
    "single": {"node", "log", "directory", "mailstore", "proxy"},
}


def files(values) -> dict[str, dict]:
    """The configuration of each component."""
    return {
        document["metadata"]["labels"]["app.kubernetes.io/component"]: tomllib.loads(document["data"]["rookery.toml"])
        for document in chart.render(values)
        if document["kind"] == "ConfigMap" and "rookery.toml" in document["data"]
    }


class Configuration(unittest.TestCase):
    def test_each_component_has_its_sections_and_known_keys(self):
        known = chart.configuration_keys()

        def look(section, table):
            for key, value in table.items():
                if isinstance(value, dict):
                    look(f"{section}.{key}", value)
                else:
                    self.assertIn(key, known[section])

        for values in chart.cases().values():
            for component, file in files(values).items():
                self.assertEqual(set(file), SECTIONS[component])
                for section, table in file.items():
                    look(section, table)

    def test_all_name_the_same_members(self):
        for name in ("values-cluster", "secrets", "cert-manager"):
            made = files(chart.cases()[name])
            members = made["directory"]["directory"]["members"]
            self.assertEqual(len(members), 1 if name == "cert-manager" else 3)
            for component in ("mailstore", "proxy"):
                self.assertEqual(made[component]["node"]["directory"], [member["address"] for member in members])

    def test_a_sites_own_keys_are_there_as_they_were_given(self):
        made = files(chart.cases()["secrets"])
        self.assertEqual(made["mailstore"]["mailstore"], {"log_size_max": 268435456, "disk_free_min": "1GiB"})
        self.assertEqual(made["directory"]["directory"]["automatic"], {"enabled": True, "silent_max": "30m"})
        self.assertEqual(made["proxy"]["proxy"]["connections_max"], 50000)

    def test_load_balancers_are_named_where_they_are_given(self):
        made = files(chart.cases()["secrets"])["proxy"]["proxy"]
        self.assertEqual(made["proxy_protocol_from"], ["10.0.0.0/16", "2001:db8::/32"])
        self.assertNotIn("proxy_protocol_from", files(chart.cases()["values-cluster"])["proxy"]["proxy"])

    def test_the_key_of_the_authority_is_where_the_configuration_says_and_for_the_pod_alone(self):
        for name, is_there in (("secrets", True), ("values-cluster", False)):
            documents = chart.render(chart.cases()[name])
            key = files(chart.cases()[name])["directory"]["directory"].get("authority_key")
            self.assertEqual(key, "/etc/rookery/authority/ca.key" if is_there else None)
            for document in documents:
                pod = chart.pod_of(document)
                held = [one for one in pod["spec"].get("volumes", []) if one["name"] == "authority"] if pod else []
                component = document["metadata"].get("labels", {}).get("app.kubernetes.io/component")
                self.assertEqual(bool(held), is_there and document["kind"] == "StatefulSet" and component == "directory")
                for volume in held:
                    self.assertEqual(volume["secret"]["defaultMode"], 0o400)
                    self.assertEqual(volume["secret"]["items"], [{"key": "tls.key", "path": "ca.key"}])

    def test_a_protocol_that_is_not_wanted_is_not_served(self):
        listen = files(chart.cases()["secrets"])["proxy"]["proxy"]["listen"]
        self.assertEqual(set(listen), {"imap", "imaps", "smtp", "submissions", "lmtp"})
        self.assertTrue(all(address.startswith("[::]:") for address in listen.values()))


if __name__ == "__main__":
    unittest.main()

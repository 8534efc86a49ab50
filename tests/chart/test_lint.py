"""Helm 3 and Helm 4 take the chart, render it alike, and pack it."""

import tempfile
import unittest

import chart


class Lint(unittest.TestCase):
    def test_helm_has_no_complaint(self):
        for name, values in chart.cases().items():
            for version in chart.HELMS:
                with self.subTest(values=name, helm=version):
                    made = chart.helm(version, "lint", "--strict", str(chart.CHART), *chart.arguments_of(values, ()))
                    self.assertEqual(made.returncode, 0, made.stdout + made.stderr)

    def test_both_render_the_same(self):
        for name, values in chart.cases().items():
            with self.subTest(values=name):
                self.assertEqual(chart.render(values, version=3), chart.render(values, version=4))

    def test_it_can_be_packed(self):
        for version in chart.HELMS:
            with self.subTest(helm=version), tempfile.TemporaryDirectory() as folder:
                made = chart.helm(version, "package", str(chart.CHART), "--destination", folder)
                self.assertEqual(made.returncode, 0, made.stderr)

    def test_what_an_installation_prints_names_its_pods(self):
        for name, values in chart.cases().items():
            # Helm 3 asks a cluster even for that.
            arguments = ["--namespace", chart.NAMESPACE, "--dry-run=client", *chart.arguments_of(values, ())]
            made = chart.helm(4, "install", chart.RELEASE, str(chart.CHART), *arguments)
            with self.subTest(values=name):
                self.assertEqual(made.returncode, 0, made.stderr)
                base = "post-office" if name == "secrets" else "mail-rookery"
                first = f"{base}-0" if "single" in name else f"{base}-directory-0"
                self.assertIn(f"port-forward {first} 7443:7443", made.stdout.partition("NOTES:")[2])

    def test_each_object_has_a_name_of_its_own(self):
        for name, values in chart.cases().items():
            with self.subTest(values=name):
                names = [(one["kind"], one["metadata"]["name"]) for one in chart.render(values)]
                self.assertEqual(len(names), len(set(names)), names)


if __name__ == "__main__":
    unittest.main()

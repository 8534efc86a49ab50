"""The image's recipe: hadolint has no complaint, and what it makes is what the chart runs."""

import subprocess
import unittest

import chart

DOCKERFILE = chart.ROOT / "Dockerfile"


class Dockerfile(unittest.TestCase):
    def test_hadolint_has_no_complaint(self):
        hadolint = chart.tools() / "python/bin/hadolint"
        made = subprocess.run([str(hadolint), str(DOCKERFILE)], capture_output=True, text=True, timeout=60, check=False)
        self.assertEqual((made.returncode, made.stdout), (0, ""), made.stderr)

    def test_its_user_is_the_pods(self):
        lines = DOCKERFILE.read_text().splitlines()
        spec = chart.pod_of(chart.find(chart.render(chart.cases()["values-cluster"]), "Deployment", "mail-rookery-proxy"))["spec"]
        security = spec["securityContext"]
        self.assertIn(f"USER {security['runAsUser']}:{security['runAsGroup']}", lines)

    def test_what_pods_run_is_in_it(self):
        text = DOCKERFILE.read_text()
        self.assertIn("/usr/local/bin/rookery", text)
        self.assertIn('ENTRYPOINT ["rookery"]', text)


if __name__ == "__main__":
    unittest.main()

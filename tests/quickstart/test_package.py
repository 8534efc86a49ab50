"""The package is one that Debian's own check has nothing against, and holds what it should."""

import pathlib
import re
import subprocess
import unittest

PACKAGE = next(pathlib.Path(".").glob("rookery_*.deb"))

# What is left out of what lintian says, and why.
LEFT_OUT = {
    # There is no bug of Debian's that asks for this package.
    "initial-upload-closes-no-bugs",
}


class Package(unittest.TestCase):
    def test_lintian_finds_nothing(self):
        checked = subprocess.run(
            ["lintian", "--allow-root", "--suppress-tags", ",".join(LEFT_OUT), "--fail-on", "error,warning", PACKAGE],
            capture_output=True, text=True, check=False,
        )
        self.assertEqual((checked.returncode, checked.stdout), (0, ""), checked.stderr)

    def test_it_holds_what_a_machine_needs(self):
        listed = subprocess.run(["dpkg-deb", "--contents", PACKAGE], capture_output=True, text=True, check=True).stdout
        held = {line.split()[5].removeprefix(".") for line in listed.splitlines() if not line.endswith("/")}
        for wanted in [
            "/usr/bin/rookery",
            "/usr/lib/sysusers.d/rookery.conf",
            "/usr/lib/tmpfiles.d/rookery.conf",
            "/usr/share/man/man1/rookery.1.gz",
            "/usr/share/man/man1/rookery-account-add.1.gz",
            "/usr/share/bash-completion/completions/rookery",
            "/usr/share/doc/rookery/copyright",
            "/usr/share/doc/rookery/docs/quickstart.md",
            "/usr/share/doc/rookery/docs/reference/configuration.md",
            "/usr/share/doc/rookery/examples/rookery.toml",
        ] + [f"/usr/lib/systemd/system/{name}.service" for name in UNITS]:
            self.assertTrue(wanted in held or f"{wanted}.gz" in held, f"{wanted} is not among {sorted(held)}")
        # Nothing of the operator's is the package's.
        self.assertFalse([path for path in held if re.match("/(etc|var)/", path)])


UNITS = ["rookery", "rookery-directory", "rookery-mailstore", "rookery-proxy"]

if __name__ == "__main__":
    unittest.main()

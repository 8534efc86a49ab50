"""The units, where the package is installed: systemd understands them, they allow little, and there is time to stop in."""

import pathlib
import re
import subprocess
import unittest

import quickstart

UNITS = ["rookery", "rookery-directory", "rookery-mailstore", "rookery-proxy"]

# Of ten, by systemd's own count; a unit that says nothing has 9.6.
EXPOSURE_MAX = 2.0


class Units(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        quickstart.install()

    def text(self, name: str) -> str:
        return pathlib.Path(f"/usr/lib/systemd/system/{name}.service").read_text()

    def test_systemd_understands_them(self):
        files = [f"/usr/lib/systemd/system/{name}.service" for name in UNITS]
        checked = subprocess.run(["systemd-analyze", "verify", *files], capture_output=True, text=True, check=False)
        # Units of others may have faults of their own.
        said = [line for line in checked.stderr.splitlines() if "rookery" in line]
        self.assertEqual((checked.returncode, said), (0, []), checked.stderr)

    def test_they_allow_little(self):
        for name in UNITS:
            with self.subTest(name):
                checked = subprocess.run(
                    ["systemd-analyze", "security", "--offline=true", f"--threshold={EXPOSURE_MAX * 10:.0f}", f"{name}.service"],
                    capture_output=True, text=True, check=False,
                )
                self.assertEqual(checked.returncode, 0, checked.stdout[-300:])

    def test_a_unit_has_longer_to_stop_than_the_program_takes(self):
        keys = pathlib.Path("/usr/share/doc/rookery/examples/rookery.toml").read_text()
        drain = int(re.search(r'^#drain = "(\d+)s"$', keys, re.MULTILINE)[1])
        for name in UNITS:
            unit = self.text(name)
            seconds = int(re.search(r"^TimeoutStopSec=(\d+)$", unit, re.MULTILINE)[1])
            told = re.search(r"what follows takes (\d+) seconds at most", unit)
            self.assertGreater(seconds, (drain if told else 10) + int(told[1] if told else 30))

    def test_all_but_their_purpose_is_alike(self):
        def hardening(name):
            text = self.text(name)
            return text[text.index("ProtectSystem="):text.index("[Install]")]

        for name in UNITS[1:]:
            self.assertEqual(hardening(name), hardening("rookery"))
        for name, capabilities in [("rookery", 1), ("rookery-proxy", 1), ("rookery-mailstore", 0), ("rookery-directory", 0)]:
            self.assertEqual(self.text(name).count("CAP_NET_BIND_SERVICE"), 2 * capabilities)

    def test_what_they_name_is_there(self):
        for name in UNITS:
            for page in re.findall(r"man:([a-z-]+)\((\d)\)", self.text(name)):
                subprocess.run(["test", "-e", f"/usr/share/man/man{page[1]}/{page[0]}.{page[1]}.gz"], check=True)
            for path in re.findall(r"file:(\S+)", self.text(name)):
                self.assertTrue(list(pathlib.Path(path).parent.glob(f"{pathlib.Path(path).name}*")), path)
        owned = subprocess.run(["stat", "-c", "%U:%G %a", "/etc/rookery"], capture_output=True, text=True, check=True)
        self.assertEqual(owned.stdout.strip(), "root:rookery 2750")


if __name__ == "__main__":
    unittest.main()

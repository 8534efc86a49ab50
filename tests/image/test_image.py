"""The image that was built: what is in it, and that it serves mail under all that a restricted pod forbids."""

import json
import os
import pathlib
import subprocess
import time
import unittest

IMAGE = os.environ["IMAGE"]
FOLDER = pathlib.Path(os.environ["FOLDER"])
USER = 65532
# What the program adds to the Debian below it, in bytes.
ADDED_MAX = 80 << 20
# As a pod of the profile `restricted` is run.
RESTRICTED = ["--read-only", "--cap-drop", "ALL", "--security-opt", "no-new-privileges:true", "--network", "none"]
# Longest that the node may take to be ready, and to stop.
SECONDS_MAX = 30


def run(*command: str, text: str = "", check: bool = True) -> subprocess.CompletedProcess:
    made = subprocess.run(command, input=text, capture_output=True, text=True, timeout=120, check=False)
    if check and made.returncode != 0:
        raise AssertionError(f"{' '.join(command)}: {made.returncode}\n{made.stdout}\n{made.stderr}")
    return made


def docker(*arguments: str, **options) -> str:
    return run("docker", *arguments, **options).stdout.strip()


class Image(unittest.TestCase):
    def test_it_runs_as_nobody_in_particular(self):
        made = json.loads(docker("image", "inspect", IMAGE))[0]["Config"]
        self.assertEqual((made["User"], made["Entrypoint"]), (f"{USER}:{USER}", ["rookery"]))

    def test_it_adds_the_program_and_nothing_else(self):
        sizes = [json.loads(docker("image", "inspect", name))[0]["Size"] for name in (IMAGE, "debian:bookworm-slim")]
        print(f"the image: {sizes[0] / 1e6:.0f} MB, of that Debian {sizes[1] / 1e6:.0f} MB")
        self.assertLess(sizes[0] - sizes[1], ADDED_MAX)

    def test_the_program_says_its_version_without_anything(self):
        version = docker("run", "--rm", *RESTRICTED, IMAGE, "--version")
        self.assertRegex(version, r"^rookery \d+\.\d+\.\d+$")

    def test_what_the_charts_jobs_need_is_there(self):
        docker("run", "--rm", *RESTRICTED, "--entrypoint", "bash", IMAGE, "-c", "awk 'BEGIN {exit 0}'")


class Node(unittest.TestCase):
    """A single node as the quick start makes it, on volumes of its own."""

    def setUp(self):
        self.volumes = []
        for name in ("cluster", "etc/rookery", "data"):
            path = FOLDER / self.id() / name
            path.mkdir(parents=True)
            os.chown(path, USER, USER)
            self.volumes += ["--volume", f"{path}:/{name}"]
        self.etc = FOLDER / self.id() / "etc/rookery"
        docker("run", "--rm", *RESTRICTED, *self.volumes, IMAGE, "init", "--cluster-dir", "/cluster/new", "--node-dir", "/etc/rookery",
               "--data", "/data/node", "--host", "localhost")

    def start(self) -> None:
        self.container = docker("run", "--detach", *RESTRICTED, *self.volumes, IMAGE, "serve", "--config", "/etc/rookery/rookery.toml")
        self.addCleanup(run, "docker", "rm", "--force", self.container, check=False)
        self.pid = docker("inspect", "--format", "{{.State.Pid}}", self.container)
        deadline = time.monotonic() + SECONDS_MAX
        while self.within("curl", "--silent", "--fail", "http://127.0.0.1:8080/readyz", check=False).returncode != 0:
            self.assertLess(time.monotonic(), deadline, self.said())
            time.sleep(0.05)

    def within(self, *command: str, **options) -> subprocess.CompletedProcess:
        """Runs a program of this machine on the container's network."""
        return run("nsenter", "--net", "--target", self.pid, *command, **options)

    def operate(self, *arguments: str, text: str = "") -> str:
        settings = {"ADMIN": "https://localhost:7443", "TOKEN_FILE": "/etc/rookery/admin-token", "CA": "/etc/rookery/ca.pem"}
        given = [word for key, value in settings.items() for word in ("--env", f"ROOKERY_{key}={value}")]
        return docker("exec", "--interactive", *given, self.container, "rookery", *arguments, text=text)

    def said(self) -> str:
        made = run("docker", "logs", self.container)
        return made.stdout + made.stderr

    def fetched(self) -> str:
        return self.within("curl", "--silent", "--show-error", "--cacert", str(self.etc / "ca.pem"), "--user",
                           "anna@example.org:secret", "imaps://localhost/INBOX;MAILINDEX=1").stdout

    def test_it_takes_mail_stops_at_once_and_has_it_again(self):
        self.start()
        self.operate("domain", "add", "example.org")
        self.operate("account", "add", "anna@example.org", text="secret\n")
        self.within("swaks", "--server", "localhost", "--from", "ben@remote.test", "--to", "anna@example.org", "--body", "Hello Anna")
        self.assertIn("Hello Anna", self.fetched())
        # It is the first process of its container, and heeds the signal itself.
        self.assertEqual(docker("exec", self.container, "cat", "/proc/1/comm"), "rookery")
        began = time.monotonic()
        docker("stop", "--time", str(2 * SECONDS_MAX), self.container)
        self.assertLess(time.monotonic() - began, SECONDS_MAX)
        self.assertEqual(docker("inspect", "--format", "{{.State.ExitCode}}", self.container), "0", self.said())
        self.start()
        self.assertIn("Hello Anna", self.fetched())

    def test_nothing_is_written_outside_of_its_volumes(self):
        self.start()
        # Of what is written docker makes the places of the volumes.
        changed = {line.split()[1] for line in docker("diff", self.container).splitlines()}
        self.assertEqual(changed, {"/cluster", "/data", "/etc", "/etc/rookery"})


if __name__ == "__main__":
    unittest.main()

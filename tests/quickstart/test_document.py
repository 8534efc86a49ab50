"""docs/quickstart.md, followed to the letter: each command succeeds, prints what it is said to print, and the service stays within what
its unit allows."""

import functools
import pathlib
import re
import subprocess
import unittest

import quickstart

MARK = "=== block {} ==="
# Longest that all of it may take; a reader is told of five minutes.
SECONDS_MAX = 240
STAND_IN = pathlib.Path("/run/stand-in")
UNIT = pathlib.Path("/usr/lib/systemd/system/rookery.service")


@functools.cache
def followed():
    """The document's steps, how a shell that took them ended, and what it printed. The unit's text, which goes with the package."""
    quickstart.install()
    unit = UNIT.read_text()
    subprocess.run(["dpkg", "--purge", "rookery"], capture_output=True, check=True)
    subprocess.run(["rm", "-rf", "/etc/rookery"], check=True)
    quickstart.prepare()
    steps = quickstart.steps((quickstart.HERE / "quickstart.md").read_text())
    # One shell, as a reader has: what is exported stays.
    script = "".join(f"echo; echo '{MARK.format(number)}'\n{block}" for number, (block, _) in enumerate(steps))
    pathlib.Path("/run/followed.sh").write_text(script)
    ran = subprocess.run(
        ["bash", "-e", "-o", "pipefail", "/run/followed.sh"], cwd="/root", text=True, timeout=SECONDS_MAX, check=False,
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )
    return steps, ran, unit


class Document(unittest.TestCase):
    def test_each_command_succeeds(self):
        steps, ran, _ = followed()
        log = STAND_IN / "rookery.log"
        said = log.read_text() if log.exists() else ""
        self.assertEqual(ran.returncode, 0, f"{ran.stdout}\nthe service said:\n{said[-3000:]}")
        self.assertGreater(len(steps), 8)

    def test_each_prints_what_it_is_said_to(self):
        steps, ran, _ = followed()
        outputs = re.split(r"^=== block \d+ ===$", ran.stdout, flags=re.MULTILINE)[1:]
        promised = 0
        for (block, lines), output in zip(steps, outputs):
            for line in lines:
                promised += 1
                self.assertTrue(quickstart.is_printed(line, output), f"{line!r} is not what\n{block}prints:\n{output}")
        self.assertGreater(promised, 10)

    def test_the_service_stops_in_time_and_leaves_nothing_running(self):
        followed()
        self.assertLess(float((STAND_IN / "rookery.stopped-after").read_text()), 30)
        left = subprocess.run(["pgrep", "--list-full", "--exact", "rookery"], capture_output=True, text=True, check=False)
        self.assertEqual((left.returncode, left.stdout), (1, ""))

    def test_what_is_shown_and_not_printed_is_found(self):
        self.assertTrue(quickstart.is_printed("a … c", "x\na b c\r\ny"))
        self.assertFalse(quickstart.is_printed("a … d", "a b c"))
        self.assertFalse(quickstart.is_printed("b", "a b c"))


class Confinement(unittest.TestCase):
    """What the service asked of the system meanwhile."""

    def calls(self) -> list[tuple[str, str]]:
        """Each call by its name, with what strace says of its arguments."""
        followed()
        found = []
        for trace in STAND_IN.glob("rookery.*.trace"):
            lines = trace.read_text(errors="replace").splitlines()
            # What setpriv did before it became the program does not count.
            begins = next(number for number, line in enumerate(lines) if 'execve("/usr/bin/rookery"' in line)
            matches = (re.match(r"\d+ +(\w+)\((.*)", line) for line in lines[begins + 1:])
            found += [(match[1], match[2]) for match in matches if match]
        self.assertGreater(len({name for name, _ in found}), 30)
        return found

    def group(self, name: str) -> set[str]:
        listed = subprocess.run(["systemd-analyze", "syscall-filter", name], capture_output=True, text=True, check=True).stdout
        names = {line.strip() for line in listed.splitlines()[1:] if line.strip() and not line.strip().startswith("#")}
        below = {one for one in names if one.startswith("@")}
        return (names - below).union(*(self.group(one) for one in below))

    def test_it_calls_nothing_that_the_filter_refuses(self):
        unit = followed()[2]
        allowed = set()
        for groups in re.findall(r"^SystemCallFilter=(.*)$", unit, re.MULTILINE):
            for group in groups.removeprefix("~").split():
                allowed = allowed - self.group(group) if groups.startswith("~") else allowed | self.group(group)
        self.assertIn("openat", allowed)
        self.assertNotIn("setuid", allowed)
        self.assertEqual({name for name, _ in self.calls()} - allowed, set())

    def test_it_opens_no_other_sockets(self):
        unit = followed()[2]
        allowed = set(re.search(r"^RestrictAddressFamilies=(.*)$", unit, re.MULTILINE)[1].split())
        opened = {rest.split(",")[0] for name, rest in self.calls() if name in ("socket", "socketpair")}
        self.assertIn("AF_INET", opened)
        self.assertEqual(opened - allowed, set())

    def test_it_makes_no_memory_both_written_and_run(self):
        unit = followed()[2]
        self.assertIn("MemoryDenyWriteExecute=yes", unit)
        calls = self.calls()
        self.assertTrue([rest for name, rest in calls if name == "mmap" and "PROT_EXEC" in rest], "libraries are mapped")
        wrong = [
            f"{name}({rest}" for name, rest in calls
            if "PROT_EXEC" in rest and (name in ("mprotect", "pkey_mprotect") or (name == "mmap" and "PROT_WRITE" in rest))
        ]
        self.assertEqual(wrong, [])


if __name__ == "__main__":
    unittest.main()

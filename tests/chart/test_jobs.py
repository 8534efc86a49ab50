"""The jobs before and after an upgrade, run as they were rendered against a stand-in of the program: what they do when things go wrong."""

import json
import os
import pathlib
import shutil
import subprocess
import tempfile
import unittest

import chart
from local.container import environment_of, expand

MAILSTORE = "mail-rookery-mailstore"


def node(ordinal: int, alive: bool = True, draining: bool = False) -> dict:
    return {"id": f"{MAILSTORE}-{ordinal}", "alive": alive, "draining": draining}


def shard(*ordinals: int) -> list[str]:
    return [f"{MAILSTORE}-{ordinal}" for ordinal in ordinals]


class Jobs(unittest.TestCase):
    def setUp(self):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="rookery-jobs-"))
        self.addCleanup(shutil.rmtree, self.folder)
        shutil.copy(chart.ROOT / "tests/chart/stand_in.py", self.folder / "rookery")
        self.path = self.folder / "state.json"

    def cluster(self, nodes: list[dict], shards: list[list[str]], **more) -> None:
        self.path.write_text(json.dumps({"nodes": nodes, "shards": shards, "removed": [], **more}))

    @property
    def state(self) -> dict:
        return json.loads(self.path.read_text())

    def run_job(self, script: str, wanted: int, seconds: int = 60) -> tuple[int, str]:
        """How a job ends that wants so many mailstores, and what it says."""
        documents = chart.render(chart.cases()["values-cluster"], (f"mailstore.replicas={wanted}",))
        job = chart.find(documents, "Job", f"mail-rookery-{script}")
        container = chart.pod_of(job)["spec"]["containers"][0]
        environment = environment_of(container["env"], "pod", {})
        command = [expand(word, environment) for word in container["command"] + container["args"]]
        environment |= {"DEADLINE": str(seconds), "PATH": f"{self.folder}:{os.environ['PATH']}", "STATE": str(self.path)}
        made = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=90, check=False)
        return made.returncode, made.stdout + made.stderr

    def test_nothing_is_asked_for_when_none_is_taken_away(self):
        self.cluster([node(0), node(1), node(2)], [shard(0, 1, 2)])
        self.assertEqual(self.run_job("drain", 3), (0, "no mailstore is taken away\n"))
        self.assertEqual(set(self.state["did"]), {"node list --json"})

    def test_those_that_go_are_emptied_and_again_is_harmless(self):
        self.cluster([node(ordinal) for ordinal in range(5)], [shard(0, 3, 4), shard(4, 1, 2)])
        for _ in range(2):
            code, said = self.run_job("drain", 3)
            self.assertEqual(code, 0, said)
            self.assertIn(f"empty: {MAILSTORE}-3 {MAILSTORE}-4", said)
        self.assertNotIn(f"{MAILSTORE}-4", str(self.state["shards"]))

    def test_the_tenth_is_not_taken_for_the_first(self):
        self.cluster([node(ordinal) for ordinal in range(11)], [shard(1, 2, 3)])
        code, said = self.run_job("drain", 10)
        self.assertEqual((code, said), (0, f"to be emptied: {MAILSTORE}-10\nempty: {MAILSTORE}-10\n"))

    def test_what_is_of_another_release_is_left_alone(self):
        others = [{"id": f"other-{MAILSTORE}-7", "alive": True, "draining": False},
                  {"id": f"{MAILSTORE}-8", "alive": True, "draining": False, "role": "proxy"}]
        self.cluster([node(0), node(1), node(2), *others], [shard(0, 1, 2)])
        self.assertEqual(self.run_job("drain", 3)[0], 0)
        self.assertEqual(set(self.state["did"]), {"node list --json"})

    def test_before_the_first_placement_an_upgrade_is_harmless(self):
        self.cluster([], [])
        self.assertEqual(self.run_job("drain", 3), (0, "there are no mailstores yet\n"))

    def test_a_list_that_is_not_understood_refuses_the_upgrade(self):
        self.cluster([{"id": "unlike", "alive": True, "draining": False}], [shard(0, 1, 2)])
        code, said = self.run_job("drain", 3)
        self.assertEqual(code, 1, said)
        self.assertIn("nothing is changed", said)

    def test_a_directory_that_is_silent_refuses_the_upgrade(self):
        for fails in (["node list"], ["shard list"]):
            self.cluster([node(ordinal) for ordinal in range(4)], [shard(0, 1, 2)], fails=fails)
            code, said = self.run_job("drain", 3)
            self.assertEqual(code, 1, said)
            self.assertIn("directory does not", said)

    def test_what_cannot_be_emptied_refuses_the_upgrade(self):
        stuck = [f"{MAILSTORE}-3"]
        self.cluster([node(ordinal) for ordinal in range(4)], [shard(0, 1, 3)], stuck=stuck)
        code, said = self.run_job("drain", 3)
        self.assertEqual(code, 1, said)
        self.assertIn(f"rookery node drain {MAILSTORE}-3 --undo", said)
        # Room was made: the same again goes on.
        self.path.write_text(json.dumps(self.state | {"stuck": []}))
        self.assertEqual(self.run_job("drain", 3)[0], 0)

    def test_a_rebalance_that_takes_too_long_refuses_the_upgrade(self):
        self.cluster([node(ordinal) for ordinal in range(4)], [shard(0, 1, 3)], slow=60)
        code, said = self.run_job("drain", 3, seconds=2)
        self.assertEqual(code, 1, said)
        self.assertIn("not empty within 2 seconds", said)

    def test_a_plan_that_is_refused_is_made_anew_only_so_often(self):
        self.cluster([node(ordinal) for ordinal in range(4)], [shard(0, 1, 3)], fails=["node drain --wait"])
        code, said = self.run_job("drain", 3)
        self.assertEqual(code, 1, said)
        self.assertEqual(self.state["did"].count(f"node drain {MAILSTORE}-3 --wait"), 5)

    def test_those_that_went_are_forgotten_and_may_return(self):
        gone = [node(3, alive=False, draining=True), node(4, alive=False, draining=True)]
        self.cluster([node(0), node(1), node(2), *gone], [shard(0, 1, 2)])
        code, said = self.run_job("settle", 3)
        self.assertEqual(code, 0, said)
        self.assertEqual(self.state["removed"], [f"{MAILSTORE}-3", f"{MAILSTORE}-4"])
        self.assertEqual(self.run_job("settle", 3)[0], 0)
        # It is never ready before it is taken in again, and Helm may wait for that.
        code, said = self.run_job("drain", 4)
        self.assertEqual(code, 0, said)
        self.assertEqual(self.state["removed"], [f"{MAILSTORE}-4"])
        self.path.write_text(json.dumps(self.state | {"nodes": [node(0), node(1), node(2), node(3)]}))
        code, said = self.run_job("settle", 4)
        self.assertEqual(code, 0, said)
        self.assertIn(f"{MAILSTORE}-3", str(self.state["shards"]))

    def test_one_that_was_not_emptied_is_not_forgotten(self):
        self.cluster([node(0), node(1), node(2), node(3, alive=False)], [shard(0, 1, 3)])
        code, said = self.run_job("settle", 3)
        self.assertEqual(code, 1, said)
        self.assertIn("set mailstore.replicas to 4", said)
        self.assertEqual(self.state["removed"], [])

    def test_one_that_does_not_come_is_told_of(self):
        self.cluster([node(0), node(1), node(2, alive=False)], [shard(0, 1, 2)])
        code, said = self.run_job("settle", 3, seconds=1)
        self.assertEqual(code, 1, said)
        self.assertIn("not all 3 mailstores are there", said)

    def test_one_that_an_operator_drains_stays_drained(self):
        self.cluster([node(0), node(1), node(2), node(3, draining=True)], [shard(0, 1, 2)])
        code, said = self.run_job("settle", 4)
        self.assertEqual(code, 0, said)
        self.assertIn(f"rookery node drain {MAILSTORE}-3 --undo", said)
        self.assertNotIn("rebalance --yes", self.state["did"])

    def test_an_upgrade_that_adds_none_moves_nothing(self):
        self.cluster([node(0), node(1), node(2)], [shard(0, 1, 2)])
        self.assertEqual(self.run_job("settle", 3)[0], 0)
        self.assertNotIn("rebalance --yes", self.state["did"])


if __name__ == "__main__":
    unittest.main()

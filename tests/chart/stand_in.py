#!/usr/bin/env python3
"""Stands in for the program in tests of the chart's jobs: a cluster that is a file, `$STATE`, and fails when the file says so.

The file: `nodes` (id, alive, draining), `removed`, `shards` (lists of ids), and `fails`, the commands that fail, such as `shard list`;
`stuck`, ids whose shards no rebalance moves; `slow`, seconds that a rebalance takes; `did`, what was asked for.
"""

import json
import os
import pathlib
import sys
import time

path = pathlib.Path(os.environ["STATE"])
state = json.loads(path.read_text())
words = sys.argv[1:]
command = " ".join(words[:2])
state.setdefault("did", []).append(" ".join(words))
path.write_text(json.dumps(state))
if "--wait" in words:
    command += " --wait"
if command in state.get("fails", []):
    sys.exit(f"rookery: {command} fails")

nodes = {node["id"]: node for node in state["nodes"]}


def wanted() -> list[str]:
    """Nodes that get shards."""
    return [node["id"] for node in state["nodes"] if node["alive"] and not node["draining"]]


def move(leaving: list[str]) -> None:
    """Moves shards from these to others."""
    for shard in state["shards"]:
        for place, node in enumerate(shard):
            if node in leaving and node not in state.get("stuck", []):
                shard[place] = next(one for one in wanted() if one not in shard)


if command == "node list":
    listed = [
        {"alive": node["alive"], "draining": node["draining"], "id": node["id"], "role": node.get("role", "mailstore"),
         "shards": sum(node["id"] in shard for shard in state["shards"])}
        for node in state["nodes"]
    ]
    joins = [{"expires_at_millis": 0, "id": "mail-rookery-mailstore-9", "redeemed": False, "role": "mailstore"}]
    print(json.dumps({"joins": joins, "nodes": listed, "removed": state["removed"]}, indent=2))
elif command == "shard list":
    shards = [{"id": number, "leader": shard[0], "members": shard, "replicas": shard, "voters": shard}
              for number, shard in enumerate(state["shards"])]
    print(json.dumps({"shards": shards}, indent=2))
elif command == "node drain":
    nodes[words[2]]["draining"] = "--undo" not in words
elif command == "node drain --wait":
    nodes[words[2]]["draining"] = True
    time.sleep(state.get("slow", 0) * any(words[2] in shard for shard in state["shards"]))
    move([words[2]])
    path.write_text(json.dumps(state))
    if any(words[2] in shard for shard in state["shards"]):
        sys.exit(f"rookery: node {words[2]} has replicas still, and must not go")
elif command == "node remove" and "--undo" in words:
    state["removed"].remove(words[2])
elif command == "node remove" and words[2] not in nodes and "--if-there" in words:
    pass
elif command == "node remove":
    if nodes[words[2]]["alive"]:
        sys.exit(f"rookery: {words[2]} is running")
    state["nodes"] = [node for node in state["nodes"] if node["id"] != words[2]]
    state["removed"].append(words[2])
elif command == "rebalance watch":
    pass
elif words[0] == "rebalance":
    time.sleep(state.get("slow", 0))
    move([node["id"] for node in state["nodes"] if node["draining"]])
    for node in wanted():
        if not any(node in shard for shard in state["shards"]):
            state["shards"][0][0] = node
else:
    sys.exit(f"the stand-in does not know: {words}")
path.write_text(json.dumps(state))

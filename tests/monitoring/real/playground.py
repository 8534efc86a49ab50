"""A playground of the test's own: nodes as processes, which can be killed."""

import json
import os
import pathlib
import signal
import subprocess

from real.until import until


def program(name: str = "rookery") -> str:
    """One of the project's programs, as it was built."""
    path = pathlib.Path(os.environ.get("ROOKERY_PROGRAM", "")).with_name(name)
    if not os.access(path, os.X_OK):
        raise AssertionError(f"{path} is no program: make it by `make build`, or name rookery in ROOKERY_PROGRAM")
    return str(path)


class Playground:
    """A running playground. `settings` are keys of the configuration, such as `{"proxy.patience": "2s"}`, for all nodes."""

    def __init__(self, folder: pathlib.Path, arguments: list[str], settings: dict[str, str] | None = None):
        self.folder = folder
        self.log = folder.with_suffix(".log")
        command = [program(), "playground", "--data", str(folder), "--port-base", "0", *arguments]
        environment = {f"ROOKERY__{key.replace('.', '__').upper()}": value for key, value in (settings or {}).items()}
        with self.log.open("wb") as out:
            self._process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=out, stderr=out, env={**os.environ, **environment}
            )
        self.manifest_file = folder / "cluster.json"
        try:
            until("the playground is ready", 90, self._is_ready, self.said)
        except BaseException:
            self.stop()
            raise

    def _is_ready(self) -> bool:
        if self._process.poll() is not None:
            raise AssertionError(f"the playground has ended:\n{self.said()}")
        return self.manifest_file.exists()

    def said(self) -> str:
        """The ends of all logs."""
        logs = [self.log, *sorted(self.folder.glob("*/log"))]
        return "\n".join(f"== {path}\n{path.read_text(errors='replace')[-1500:]}" for path in logs if path.exists())

    def manifest(self) -> dict:
        """What `cluster.json` says now."""
        return json.loads(self.manifest_file.read_text())

    def node(self, name: str) -> dict:
        """A node's row of it."""
        return next(node for node in self.manifest()["nodes"] if node["id"] == name)

    def targets(self) -> dict[str, dict[str, str]]:
        """Where metrics are read, by job and node."""
        found: dict[str, dict[str, str]] = {}
        for node in self.manifest()["nodes"]:
            found.setdefault(f"rookery-{node['role']}", {})[node["id"]] = node["http"]
        return found

    def proxy(self, number: int, protocol: str) -> tuple[str, int]:
        """Where a proxy listens; the first is 0."""
        host, _, port = self.manifest()["proxies"][number][protocol].rpartition(":")
        return host, int(port)

    def rookery(self, *arguments: str, seconds: float = 60) -> str:
        """One of the operator's commands; what it printed."""
        command = [program(), *arguments, "--cluster", str(self.manifest_file)]
        made = subprocess.run(command, capture_output=True, text=True, timeout=seconds, check=False)
        if made.returncode != 0:
            raise AssertionError(f"rookery {' '.join(arguments)}: {made.stderr}\n{self.said()}")
        return made.stdout

    def grow(self) -> None:
        """Adds a mailstore, without shards."""
        command = [program(), "playground", "grow", "--data", str(self.folder)]
        made = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        if made.returncode != 0:
            raise AssertionError(f"the playground does not grow: {made.stderr}\n{self.said()}")

    def load(self, *arguments: str) -> subprocess.Popen:
        """Starts a load of rookery-loadtest; it is told to the file `load.log`."""
        command = [program("rookery-loadtest"), *arguments, "--server", str(self.manifest_file), "--quiet"]
        with self.folder.with_suffix(".load").open("ab") as out:
            return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=out, stderr=out)

    def kill(self, name: str) -> None:
        """Ends a node as a power cut would."""
        os.kill(self.node(name)["pid"], signal.SIGKILL)

    def stop(self) -> None:
        """Ends all of it."""
        self._process.terminate()
        try:
            self._process.wait(timeout=60)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

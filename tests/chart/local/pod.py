"""A pod of the local run: started, probed and stopped as a node of Kubernetes does it."""

import contextlib
import http.client
import pathlib
import time

from local.container import Container


def until(what: str, seconds: float, holds, said=lambda: "") -> None:
    """Looks again and again whether something holds, and fails with the reason when it does not in time."""
    end = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > end:
            raise AssertionError(f"{what}: not within {seconds} s\n{said()}")
        time.sleep(0.1)


class Pod:
    """A running pod with one container."""

    def __init__(self, name: str, template: dict, address: str, make_container):
        self.name = name
        self.template = template
        self.address = address
        self.container: Container = make_container(self)
        self._said = template["spec"]["containers"][0]
        self.ports = {port["name"]: port["containerPort"] for port in self._said.get("ports", [])}

    def probe(self, kind: str) -> bool:
        """Whether a probe succeeds: `livenessProbe` or `readinessProbe`."""
        probe = self._said[kind]
        get = probe["httpGet"]
        try:
            status, _ = self.get(get["path"], get["port"], probe["timeoutSeconds"])
            return 200 <= status < 400
        except (OSError, http.client.HTTPException):
            return False

    def get(self, path: str, port: str = "http", seconds: float = 5) -> tuple[int, str]:
        """Status and text of what it answers over HTTP."""
        with contextlib.closing(http.client.HTTPConnection(self.address, self.ports[port], timeout=seconds)) as connection:
            connection.request("GET", path)
            answer = connection.getresponse()
            return answer.status, answer.read().decode()

    def is_running(self) -> bool:
        return self.container.process.poll() is None

    def wait_ready(self, seconds: float = 90) -> None:
        """Waits until it is ready; it must live meanwhile."""
        def holds() -> bool:
            if not self.is_running():
                raise AssertionError(f"{self.name} has ended:\n{self.container.said()}")
            return self.probe("readinessProbe")
        until(f"{self.name} is ready", seconds, holds, self.container.said)

    def stop(self) -> float:
        """Its preStop hook, SIGTERM, and its end within the rendered grace time. Returns how long it took from SIGTERM on."""
        began = time.monotonic()
        grace = self.template["spec"]["terminationGracePeriodSeconds"]
        hook = self._said.get("lifecycle", {}).get("preStop")
        if hook:
            # The hook is a pause; a pod that ends in it has ended too early.
            end = began + hook["sleep"]["seconds"]
            while time.monotonic() < end:
                if not self.is_running():
                    raise AssertionError(f"{self.name} has ended before it was told to")
                time.sleep(0.1)
        told = time.monotonic()
        self.container.terminate()
        left = grace - (told - began)
        until(f"{self.name} ends", left, lambda: not self.is_running(), self.container.said)
        code = self.container.process.wait()
        if code != 0:
            raise AssertionError(f"{self.name} ended with {code}:\n{self.container.said()}")
        return time.monotonic() - told


def log_of(folder: pathlib.Path, name: str) -> pathlib.Path:
    """Where a pod's output goes."""
    (folder / "logs").mkdir(exist_ok=True)
    return folder / "logs" / f"{name}.log"

"""The network of the pods: a namespace with an address for each, on one bridge, and a file that knows their names.

Lives in the network and mount namespaces that `tests/chart/run` has made, and ends with them.
"""

import pathlib
import subprocess


def _ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, capture_output=True, timeout=20)


class Network:
    """All pods' network; this process is on it as well, at the bridge."""

    def __init__(self, folder: pathlib.Path):
        self.hosts = folder / "hosts"
        self._names: dict[str, str] = {"localhost": "127.0.0.1"}
        self._write()
        # The file is what this process, too, knows names by. Namespaces are kept where nobody else looks.
        subprocess.run(["mount", "--bind", str(self.hosts), "/etc/hosts"], check=True, timeout=20)
        subprocess.run(["mount", "-t", "tmpfs", "pods", "/run"], check=True, timeout=20)
        _ip("link", "set", "lo", "up")
        _ip("link", "add", "pods", "type", "bridge")
        _ip("address", "add", "10.42.0.1/16", "dev", "pods")
        _ip("link", "set", "pods", "up")
        self._made: set[str] = set()

    def know(self, name: str, address: str) -> None:
        """Lets a name be found, whether or not somebody is there."""
        self._names[name] = address
        self._write()

    def _write(self) -> None:
        # In place: the file is mounted.
        self.hosts.write_text("".join(f"{address} {name}\n" for name, address in self._names.items()))

    def attach(self, address: str) -> str:
        """The namespace of an address, made when it is first asked for."""
        name = address.replace(".", "-")
        if address in self._made:
            return name
        _ip("netns", "add", name)
        _ip("link", "add", f"v{name}"[:15], "type", "veth", "peer", "name", "eth0", "netns", name)
        _ip("link", "set", f"v{name}"[:15], "master", "pods", "up")
        _ip("-n", name, "address", "add", f"{address}/16", "dev", "eth0")
        _ip("-n", name, "link", "set", "eth0", "up")
        _ip("-n", name, "link", "set", "lo", "up")
        self._made.add(address)
        return name

"""A container as a process: the image's files, the rendered command, environment, volumes, user and restrictions."""

import json
import os
import pathlib
import re
import shutil
import signal
import subprocess

import chart

# What the image sets.
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def expand(text: str, environment: dict[str, str]) -> str:
    """`$(NAME)` is the variable's value, if there is one; `$$` is `$`. As Kubernetes does it."""
    def value(found: re.Match) -> str:
        if found[0] == "$$":
            return "$"
        return environment.get(found[1], found[0])
    return re.sub(r"\$\$|\$\(([-._a-zA-Z0-9]+)\)", value, text)


def environment_of(said: list[dict], pod: str, labels: dict[str, str]) -> dict[str, str]:
    """The variables of a container, in their order."""
    made: dict[str, str] = {}
    for one in said:
        if "valueFrom" in one:
            field = one["valueFrom"]["fieldRef"]["fieldPath"]
            label = re.fullmatch(r"metadata\.labels\['(.+)'\]", field)
            fields = {"metadata.name": pod, "spec.nodeName": f"machine-of-{pod}"}
            made[one["name"]] = labels.get(label[1], "") if label else fields[field]
        else:
            made[one["name"]] = expand(one["value"], made)
    return made


class Container:
    """A running container."""

    def __init__(
        self, pod: str, template: dict, volumes: dict[str, pathlib.Path], namespace: str, hosts: pathlib.Path, log: pathlib.Path
    ):
        spec = template["spec"]
        said = spec["containers"][0]
        self.log = log
        environment = environment_of(said.get("env", []), pod, template["metadata"]["labels"])
        command = [expand(word, environment) for word in [*said["command"], *said.get("args", [])]]
        information, told = os.pipe()
        with log.open("ab") as out:
            sandbox = [*_sandbox(pod, spec, volumes, hosts, environment), "--info-fd", str(told)]
            self.process = subprocess.Popen(
                ["nsenter", f"--net=/run/netns/{namespace}", *sandbox, *command],
                stdin=subprocess.DEVNULL, stdout=out, stderr=out, pass_fds=(told,),
            )
        os.close(told)
        with os.fdopen(information) as reader:
            text = reader.read()
        if not text:
            raise AssertionError(f"{pod} cannot be started: {self.said()}")
        self._first = json.loads(text)["child-pid"]

    def terminate(self) -> None:
        """Sends SIGTERM to the container's first process."""
        os.kill(self._first, signal.SIGTERM)

    def kill(self) -> None:
        """Ends it at once."""
        if self.process.poll() is None:
            os.kill(self._first, signal.SIGKILL)
        self.process.wait(timeout=20)

    def said(self) -> str:
        """The end of what it has written."""
        return self.log.read_text(errors="replace")[-4000:]


def program() -> str:
    """The program that the image would hold."""
    path = os.environ.get("ROOKERY_PROGRAM", "")
    if not os.access(path, os.X_OK):
        raise AssertionError(f"{path!r} is no program: make it by `make build`, or name it in ROOKERY_PROGRAM")
    return path


def _sandbox(
    pod: str, spec: dict, volumes: dict[str, pathlib.Path], hosts: pathlib.Path, environment: dict[str, str]
) -> list[str]:
    """The command that shuts a process in as the pod says: bubblewrap's."""
    if not shutil.which("bwrap"):
        raise AssertionError("bwrap is missing: run .ci/install test")
    said = spec["containers"][0]
    security, pod_security = said["securityContext"], spec["securityContext"]
    words = ["bwrap", "--unshare-user", "--unshare-pid", "--unshare-ipc", "--unshare-uts", "--unshare-cgroup-try"]
    words += ["--as-pid-1", "--die-with-parent", "--new-session", "--hostname", pod]
    words += ["--uid", str(pod_security["runAsUser"]), "--gid", str(pod_security["runAsGroup"])]
    # The image: the distribution's files, and the program.
    words += ["--ro-bind", "/usr", "/usr"]
    for folder in ("bin", "lib", "lib64"):
        words += ["--symlink", f"usr/{folder}", f"/{folder}"]
    words += ["--tmpfs", "/usr/local/bin", "--ro-bind", program(), "/usr/local/bin/rookery", "--remount-ro", "/usr/local/bin"]
    words += ["--ro-bind", "/etc/alternatives", "/etc/alternatives", "--ro-bind", str(hosts), "/etc/hosts"]
    words += ["--ro-bind", str(chart.ROOT / "tests/chart/local/nsswitch.conf"), "/etc/nsswitch.conf"]
    words += ["--proc", "/proc", "--dev", "/dev", "--chdir", "/"]
    for mount in said["volumeMounts"]:
        kind = "--ro-bind" if mount.get("readOnly") else "--bind"
        words += [kind, str(volumes[mount["name"]]), mount["mountPath"]]
    if security["readOnlyRootFilesystem"]:
        words += ["--remount-ro", "/"]
    for capability in security["capabilities"]["drop"]:
        words += ["--cap-drop", capability]
    words += ["--clearenv", "--setenv", "PATH", PATH, "--setenv", "HOSTNAME", pod]
    for name, value in environment.items():
        words += ["--setenv", name, value]
    return words

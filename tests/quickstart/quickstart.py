"""What the tests on a machine of their own need: the package, the stand-in of systemctl, and the document's commands."""

import pathlib
import re
import shutil
import subprocess

HERE = pathlib.Path(__file__).parent
PACKAGE = next(HERE.glob("rookery_*.deb"))


def install() -> None:
    """Installs the package as dpkg does, dependencies checked."""
    subprocess.run(["dpkg", "--install", PACKAGE], capture_output=True, text=True, check=True)


def prepare() -> None:
    """Puts the package where the reader has it, and the stand-in before the machine's own systemctl."""
    shutil.copy(PACKAGE, "/root")
    shutil.copy(HERE / "systemctl", "/usr/local/bin/systemctl")


def steps(text: str) -> list[tuple[str, list[str]]]:
    """The commands of a document, block by block, each with the lines that it is said to print."""
    found = []
    for kind, block in re.findall(r"^```(sh|text)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL):
        if kind == "sh":
            found.append((block, []))
        else:
            found[-1][1].extend(block.splitlines())
    return found


def is_printed(line: str, output: str) -> bool:
    """Whether a line that a document shows is one of an output's; `…` stands for anything."""
    pattern = ".*".join(re.escape(part) for part in line.split("…"))
    return any(re.fullmatch(pattern, printed.rstrip("\r")) for printed in output.splitlines())

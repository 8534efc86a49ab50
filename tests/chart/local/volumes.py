"""The volumes of a pod as folders: what a node of Kubernetes mounts, made of what was rendered and of the site's Secrets."""

import pathlib
import shutil

from local import certificates


class Volumes:
    """Makes folders for volumes. Claims outlive their pods; all others are made anew for each."""

    def __init__(self, folder: pathlib.Path, secrets: dict[str, dict[str, bytes]], ca: tuple[pathlib.Path, pathlib.Path]):
        self.folder = folder
        self.secrets = secrets
        self._ca = ca

    def issue(self, secret: str, names: list[str]) -> None:
        """Makes a Secret of a certificate by these names."""
        folder = self.folder / "certificates" / secret
        certificates.issue(*self._ca, folder, names)
        self.secrets[secret] = {path.name: path.read_bytes() for path in folder.iterdir()}

    def of_pod(self, pod: str, spec: dict, claims: list[dict], documents: list[dict]) -> dict[str, pathlib.Path]:
        """The folder of each volume by its name."""
        made = {}
        for claim in claims:
            name = claim["metadata"]["name"]
            made[name] = self.folder / "claims" / f"{name}-{pod}"
            made[name].mkdir(parents=True, exist_ok=True)
        fresh = self.folder / "pods" / pod
        shutil.rmtree(fresh, ignore_errors=True)
        for volume in spec["volumes"]:
            name = volume["name"]
            made[name] = fresh / name
            made[name].mkdir(parents=True)
            self._fill(made[name], volume, pod, documents)
        return made

    def _fill(self, folder: pathlib.Path, volume: dict, pod: str, documents: list[dict]) -> None:
        if "secret" in volume:
            self._secret(folder, volume["secret"]["secretName"], volume["secret"])
        elif "projected" in volume:
            for source in volume["projected"]["sources"]:
                self._secret(folder, source["secret"]["name"], source["secret"])
        elif "configMap" in volume:
            held = [one for one in documents if one["kind"] == "ConfigMap" and one["metadata"]["name"] == volume["configMap"]["name"]]
            for key, text in held[0]["data"].items():
                (folder / key).write_text(text)
        elif "csi" in volume:
            attributes = volume["csi"]["volumeAttributes"]
            names = attributes["csi.cert-manager.io/dns-names"].replace("${POD_NAME}", pod).split(",")
            certificates.issue(*self._ca, folder, names)
        elif "emptyDir" not in volume:
            raise AssertionError(f"no such volume is known here: {volume}")

    def _secret(self, folder: pathlib.Path, name: str, said: dict) -> None:
        held = self.secrets.get(name)
        if held is None:
            if said.get("optional"):
                return
            raise AssertionError(f"there is no Secret {name}")
        items = said.get("items") or [{"key": key, "path": key} for key in held]
        for item in items:
            path = folder / item["path"]
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(held[item["key"]])
            # As with a group of the pod: its user and its group read it. Here the user is the owner, so that a mode which is said holds.
            path.chmod(said.get("defaultMode", 0o440))

"""A release on this machine: what Helm and Kubernetes do with the rendered chart, done with processes."""

import concurrent.futures
import json
import os
import pathlib
import shutil
import subprocess
import tempfile

import chart
from local import certificates
from local.container import Container, program
from local.network import Network
from local.pod import Pod, log_of
from local.volumes import Volumes

# Third part of pods' addresses by component.
NETWORKS = {"directory": 1, "mailstore": 2, "proxy": 3, "single": 4, "operator": 5}

# What the site gives. Short times, so that a stop is not waited for.
SITE = {
    "cluster": {"shards": 6},
    "log": {"level": "info", "format": "text"},
    # Keys of all forms, so that the program has read them.
    "directory": {"config": {"token_lifetime": "20m", "automatic": {"enabled": False, "silent_max": "30m"}}},
    "proxy": {
        "config": {"connections_max": 50000, "message_bytes_max": "20MiB"},
        "hostname": "mail.example.org", "patienceSeconds": 20, "drainSeconds": 25, "endpointDelaySeconds": 1,
        "tls": {"secret": "site-tls", "certManager": {"enabled": False}},
        "lmtp": {"enabled": True, "from": [{"podSelector": {}}]},
    },
    "scaling": {"deadlineSeconds": 150},
}


class Release:
    """An installed release. `values` are the names of files of the chart."""

    def __init__(self, values: str, site: dict | None = None):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="rookery-chart-"))
        self.network = Network(self.folder)
        self._values = chart.CHART / values
        self.pods: dict[str, Pod] = {}
        self._make_cluster()
        self._site = self._write("site.yaml", SITE | (site or {}))
        self._cluster = self._write("cluster.yaml", {"cluster": {"id": self.cluster_id}})
        self.documents = self.render({})
        self._apply()

    def _make_cluster(self) -> None:
        cluster = self.folder / "cluster"
        subprocess.run([program(), "init", "--cluster-dir", str(cluster)], check=True, capture_output=True, timeout=20)
        self.cluster_id = (cluster / "cluster-id").read_text().strip()
        ca, key = cluster / "ca.pem", cluster / "ca.key"
        site = self.folder / "site-tls"
        certificates.issue(ca, key, site, ["mail.example.org"])
        self.ca = ca
        secrets = {
            "rookery-ca": {"tls.crt": ca.read_bytes(), "tls.key": key.read_bytes()},
            "rookery-admin-token": {"admin-token": (cluster / "admin-token").read_bytes()},
            "site-tls": {path.name: path.read_bytes() for path in site.iterdir()},
        }
        self._volumes = Volumes(self.folder, secrets, (ca, key))

    def _write(self, name: str, values: dict) -> pathlib.Path:
        path = self.folder / name
        path.write_text(json.dumps(values))
        return path

    def render(self, changed: dict) -> list[dict]:
        """What the chart makes with changed values."""
        last = self._write(f"changed-{len(list(self.folder.glob('changed-*')))}.yaml", changed)
        return chart.render((self._values, self._site, self._cluster, last))

    # What Helm does.

    def upgrade(self, changed: dict) -> None:
        """Renders anew, and does as Helm does: the jobs before, the change, the jobs after. A job that fails ends it."""
        documents = self.render(changed)
        self.job("drain", documents)
        self.documents = documents
        self._apply()
        self.job("settle", documents)

    def job(self, script: str, documents: list[dict] | None = None, environment: dict[str, str] | None = None) -> str:
        """Runs one of the chart's jobs to its end and returns what it said; `environment` is laid over the rendered one."""
        documents = documents or self.documents
        document = next(one for one in documents if one["metadata"]["name"].endswith(f"-{script}") and chart.pod_of(one))
        template = json.loads(json.dumps(chart.pod_of(document)))
        for one in template["spec"]["containers"][0]["env"]:
            one["value"] = (environment or {}).get(one["name"], one.get("value"))
        name = document["metadata"]["name"]
        log_of(self.folder, name).unlink(missing_ok=True)
        container = self._container(name, template, [], documents, "10.42.5.1")
        try:
            code = container.process.wait(timeout=200)
        finally:
            container.kill()
        if code != 0:
            raise AssertionError(f"the job {script} ended with {code}:\n{container.said()}")
        return container.said()

    # What Kubernetes does.

    def _apply(self) -> None:
        self._issue_certificates()
        wanted = {}
        for document in self.documents:
            if document["kind"] not in ("Deployment", "StatefulSet"):
                continue
            for ordinal in range(document["spec"]["replicas"]):
                suffix = f"-6c5d{ordinal}7f9-x{ordinal}k2p" if document["kind"] == "Deployment" else f"-{ordinal}"
                wanted[document["metadata"]["name"] + suffix] = (document, ordinal)
        for name, pod in self.pods.items():
            if name in wanted and chart.pod_of(wanted[name][0]) != pod.template:
                raise AssertionError(f"{name} would be restarted")
        self.stop([name for name in self.pods if name not in wanted])
        for name, (document, ordinal) in wanted.items():
            if name not in self.pods:
                self.start(name, document, ordinal)
        self.all_at_once(lambda pod: pod.wait_ready(), self.pods.values())

    def _issue_certificates(self) -> None:
        """The Secrets of Certificates, as cert-manager makes them."""
        for document in self.documents:
            if document["kind"] == "Certificate" and document["spec"]["secretName"] not in self._volumes.secrets:
                self._volumes.issue(document["spec"]["secretName"], document["spec"]["dnsNames"])

    def start(self, name: str, document: dict, ordinal: int) -> Pod:
        """Starts a pod of a workload."""
        template = chart.pod_of(document)
        component = template["metadata"]["labels"]["app.kubernetes.io/component"]
        address = f"10.42.{NETWORKS[component]}.{ordinal + 1}"
        claims = document["spec"].get("volumeClaimTemplates", [])
        service = f"{document['metadata']['name']}.{chart.NAMESPACE}.svc.cluster.local"
        self.network.know(f"{name}.{service}", address)
        self.network.know(service, address)

        def container(pod: Pod) -> Container:
            return self._container(name, template, claims, self.documents, address)

        self.pods[name] = Pod(name, template, address, container)
        return self.pods[name]

    def _container(self, name: str, template: dict, claims: list[dict], documents: list[dict], address: str) -> Container:
        volumes = self._volumes.of_pod(name, template["spec"], claims, documents)
        namespace = self.network.attach(address)
        return Container(name, template, volumes, namespace, self.network.hosts, log_of(self.folder, name))

    def stop(self, names: list[str]) -> None:
        """Stops pods, all at once."""
        self.all_at_once(lambda name: self.pods[name].stop(), names)
        for name in names:
            del self.pods[name]

    @staticmethod
    def all_at_once(act, things) -> None:
        """Does something to each, and fails with the first that fails."""
        with concurrent.futures.ThreadPoolExecutor(16) as pool:
            list(pool.map(act, list(things)))

    def of(self, component: str) -> list[Pod]:
        """The running pods of a component."""
        label = "app.kubernetes.io/component"
        return [pod for pod in self.pods.values() if pod.template["metadata"]["labels"][label] == component]

    # What an operator does.

    def operate(self, *words: str, text: str = "") -> str:
        """Runs one of the operator's commands and returns its answer."""
        job = next(one for one in self.documents if one["metadata"]["name"].endswith("-check"))
        admin = next(one["value"] for one in job["spec"]["containers"][0]["env"] if one["name"] == "ROOKERY_ADMIN")
        environment = {**os.environ, "ROOKERY_ADMIN": admin, "ROOKERY_CA": str(self.ca)}
        environment["ROOKERY_TOKEN_FILE"] = str(self.folder / "cluster/admin-token")
        made = subprocess.run([program(), *words], input=text, capture_output=True, text=True, timeout=60, env=environment, check=False)
        if made.returncode != 0:
            raise AssertionError(f"rookery {' '.join(words)}: {made.stderr}")
        return made.stdout

    def close(self) -> None:
        """Ends what still runs, and removes what was made; networks and mounts end with the namespaces."""
        for pod in self.pods.values():
            pod.container.kill()
        shutil.rmtree(self.folder, ignore_errors=True)

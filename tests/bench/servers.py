"""The two servers: each starts on loopback ports of the system's choice in a folder of its own, and is stopped again."""
import json
import os
import shutil
import signal
import socket
import subprocess
import time

ACCOUNTS = 100
PASSWORD = "playground"
START_SECONDS_MAX = 60


def free_ports(count):
    """Ports that are free now; all are held until all are known."""
    held = [socket.socket() for _ in range(count)]
    for one in held:
        one.bind(("127.0.0.1", 0))
    ports = [one.getsockname()[1] for one in held]
    for one in held:
        one.close()
    return ports


def wait_for_port(port):
    deadline = time.monotonic() + START_SECONDS_MAX
    while True:
        try:
            return socket.create_connection(("127.0.0.1", port)).close()
        except ConnectionRefusedError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)


class Server:
    """Where to send and to read: host and ports, and an account's address by its number (from 1)."""

    imap = lmtp = pid = None

    def user(self, number):
        return f"user{(number - 1) % ACCOUNTS + 1}@{self.domain}"

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.stop()


class Rookery(Server):
    domain = "example.test"

    def __init__(self, folder, name="Rookery", options=("--single",), binary=None):
        self.folder, self.name, self.options = folder, name, list(options)
        target = os.environ.get("CARGO_TARGET_DIR", os.path.expanduser("~/.cache/rookery/target"))
        self.binary = binary or os.environ.get("ROOKERY_BIN", f"{target}/debug/rookery")

    def start(self):
        command = [self.binary, "playground", *self.options, "--port-base", "0", "--data", self.folder,
                   "--accounts", str(ACCOUNTS), "--password", PASSWORD]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        while (line := self.process.stdout.readline()) != "ready\n":
            if not line:
                raise SystemExit(f"{command} did not become ready")
        with open(f"{self.folder}/cluster.json", encoding="utf-8") as file:
            proxy = json.load(file)["proxies"][0]
        self.imap, self.lmtp = (int(proxy[name].rpartition(":")[2]) for name in ("imap", "lmtp"))
        self.pid = self.process.pid
        version = subprocess.run([self.binary, "--version"], capture_output=True, text=True, check=True).stdout.strip()
        self.about = f"{version}, {' '.join(self.options)}, {self.binary}; passwords as argon2id behind a cache"

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        self.process.wait()


class Dovecot(Server):
    name, domain = "Dovecot", "bench.test"

    # Dovecot 2.3's language. Limits are out of the way; a login process serves many connections, a mail process one,
    # as is its default. Mail belongs to Debian's own user `mail`.
    CONFIG = """
base_dir = {folder}/run
state_dir = {folder}/state
log_path = {folder}/log
instance_name = rookery-bench
protocols = imap lmtp
listen = 127.0.0.1
ssl = no
disable_plaintext_auth = no
login_trusted_networks = 127.0.0.0/8
mail_location = sdbox:~/sdbox
mail_uid = mail
mail_gid = mail
first_valid_uid = 1
mail_max_userip_connections = 0
default_client_limit = 10000
default_vsz_limit = 4G
passdb {{
  driver = passwd-file
  args = scheme=PLAIN username_format=%u {folder}/users
}}
userdb {{
  driver = static
  args = uid=mail gid=mail home={folder}/mail/%Lu
}}
namespace inbox {{
  inbox = yes
  separator = /
}}
service imap-login {{
  service_count = 0
  process_min_avail = 2
  process_limit = 2
  inet_listener imap {{
    port = {imap}
  }}
  inet_listener imaps {{
    port = 0
  }}
}}
service imap {{
  process_limit = 10000
}}
service lmtp {{
  process_min_avail = 2
  process_limit = 200
  inet_listener lmtp {{
    address = 127.0.0.1
    port = {lmtp}
  }}
}}
service anvil {{
  client_limit = 11000
}}
service auth {{
  client_limit = 11000
}}
service stats {{
  client_limit = 11000
}}
service managesieve-login {{
  inet_listener sieve {{
    port = 0
  }}
}}
"""
    # Each idle mail process watches its mailbox by inotify.
    LIMITS = ("max_user_instances", "max_user_watches")

    def __init__(self, folder):
        self.folder, self.held = folder, {}

    def start(self):
        if os.geteuid() != 0:
            raise SystemExit("Dovecot needs root to run as the mail's user: run this as root")
        binary = shutil.which("dovecot", path=os.environ["PATH"] + ":/usr/sbin")
        if not binary:
            raise SystemExit("Dovecot is missing: .ci/install bench")
        for name in ("run", "state", "mail"):
            os.makedirs(f"{self.folder}/{name}")
        # The mail's user must be able to pass through the folders above.
        for path in (os.path.dirname(self.folder), self.folder):
            os.chmod(path, 0o755)
        shutil.chown(f"{self.folder}/mail", "mail", "mail")
        with open(f"{self.folder}/users", "w", encoding="ascii") as file:
            for number in range(1, ACCOUNTS + 1):
                file.write(f"{self.user(number)}:{{PLAIN}}{PASSWORD}\n")
        self.imap, self.lmtp = free_ports(2)
        config = f"{self.folder}/dovecot.conf"
        with open(config, "w", encoding="ascii") as file:
            file.write(self.CONFIG.format(folder=self.folder, imap=self.imap, lmtp=self.lmtp))
        for name in self.LIMITS:
            path = f"/proc/sys/fs/inotify/{name}"
            with open(path, encoding="ascii") as file:
                self.held[path] = file.read()
            if int(self.held[path]) < 65536:
                self.write_limit(path, "65536")
        self.process = subprocess.Popen([binary, "-F", "-c", config])
        self.pid = self.process.pid
        wait_for_port(self.imap)
        wait_for_port(self.lmtp)
        version = subprocess.run([binary, "--version"], capture_output=True, text=True, check=True).stdout.strip()
        self.about = f"{version}, sdbox, mail_fsync as it comes; passwords in plain text"

    @staticmethod
    def write_limit(path, value):
        try:
            with open(path, "w", encoding="ascii") as file:
                file.write(value)
        except OSError as error:
            print(f"cannot set {path}: {error}")

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        self.process.wait()
        for path, value in self.held.items():
            self.write_limit(path, value)

"""The two servers: each starts on loopback ports of the system's choice in a folder of its own, and is stopped again."""
import json
import os
import shutil
import signal
import socket
import subprocess
import threading
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


def version(binary):
    return subprocess.run([binary, "--version"], capture_output=True, text=True, check=True).stdout.strip()


class Server:
    """Where to send and to read: host and ports, and an account's address by its number (from 1)."""

    imap = imaps = lmtp = pid = None

    def description(self):
        """As the load tester takes it."""
        return (f"name={self.name},imap=127.0.0.1:{self.imap},imaps=127.0.0.1:{self.imaps},lmtp=127.0.0.1:{self.lmtp},"
                f"accounts={ACCOUNTS},account_pattern=user%d@{self.domain},pid={self.pid}")

    def user(self, number):
        return f"user{(number - 1) % ACCOUNTS + 1}@{self.domain}"

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.stop()


class NotReady(SystemExit):
    """A server that did not get as far as to serve."""


class Rookery(Server):
    domain = "example.test"

    def __init__(self, folder, binary, name="Rookery", options=("--single",), environment=None,
                 start_seconds_max=None):
        self.environment = environment or {}
        self.folder, self.name, self.options, self.start_seconds_max = folder, name, list(options), start_seconds_max
        self.binary = binary

    def start(self):
        command = [self.binary, "playground", *self.options, "--port-base", "0", "--data", self.folder,
                   "--accounts", str(ACCOUNTS), "--password", PASSWORD]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env={**os.environ, **self.environment})
        self.pid = self.process.pid
        # Accounts are a part of the start, and many of them take long.
        late = threading.Timer(self.start_seconds_max or threading.TIMEOUT_MAX, self.process.terminate)
        late.daemon = True
        late.start()
        while (line := self.process.stdout.readline()) != "ready\n":
            if not line:
                self.process.wait()
                raise NotReady(f"{' '.join(command)} did not become ready")
        late.cancel()
        with open(f"{self.folder}/cluster.json", encoding="utf-8") as file:
            self.proxies = json.load(file)["proxies"]
        addresses = (self.proxies[0][name] for name in ("imap", "imaps", "lmtp"))
        self.imap, self.imaps, self.lmtp = (int(address.rpartition(":")[2]) for address in addresses)

    @property
    def about(self):
        build = os.path.basename(os.path.dirname(self.binary))
        words = [*(f"{key}={value}" for key, value in self.environment.items()), *self.options]
        return f"{version(self.binary)}, {' '.join(words)}, {build}; passwords as argon2id behind a cache"

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        self.process.wait()


class Dovecot(Server):
    name, domain = "Dovecot", "bench.test"

    # Dovecot 2.3's language. Limits are out of the way; a login process serves many connections, a mail process one after
    # the other, and sessions in IDLE are put to sleep: each the faster or smaller of its variants. Mail belongs to
    # Debian's own user `mail`.
    CONFIG = """
base_dir = {folder}/run
state_dir = {folder}/state
log_path = {folder}/log
instance_name = rookery-bench
protocols = imap lmtp
listen = 127.0.0.1
ssl = yes
ssl_cert = <{folder}/cert.pem
ssl_key = <{folder}/key.pem
disable_plaintext_auth = no
login_trusted_networks = 127.0.0.0/8
mail_location = sdbox:~/sdbox
mail_fsync = {fsync}
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
    port = {imaps}
    ssl = yes
  }}
}}
imap_hibernate_timeout = {hibernate}s
service imap {{
  process_limit = 10000
  service_count = 100
  unix_listener imap-master {{
    user = dovecot
  }}
}}
service imap-hibernate {{
  client_limit = 20000
  unix_listener imap-hibernate {{
    mode = 0660
    group = mail
  }}
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
    # Of a session in IDLE, until it needs no process any more.
    HIBERNATE_SECONDS = 5

    # As it comes. `never` is for filling alone.
    FSYNC = "optimized"

    # Each idle mail process watches its mailbox by inotify.
    LIMITS = ("max_user_instances", "max_user_watches")

    def __init__(self, folder):
        self.folder, self.held, self.fsync = folder, {}, self.FSYNC

    def start(self):
        if os.geteuid() != 0:
            raise SystemExit("Dovecot needs root to run as the mail's user: run this as root")
        binary = self.binary()
        for name in ("run", "state", "mail"):
            os.makedirs(f"{self.folder}/{name}", exist_ok=True)
        # The mail's user must be able to pass through the folders above.
        for path in (os.path.dirname(self.folder), self.folder):
            os.chmod(path, 0o755)
        shutil.chown(f"{self.folder}/mail", "mail", "mail")
        with open(f"{self.folder}/users", "w", encoding="ascii") as file:
            for number in range(1, ACCOUNTS + 1):
                file.write(f"{self.user(number)}:{{PLAIN}}{PASSWORD}\n")
        # The same kind of key as ours has.
        subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2",
                        "-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1",
                        "-keyout", f"{self.folder}/key.pem", "-out", f"{self.folder}/cert.pem"],
                       check=True, capture_output=True)
        self.imap, self.imaps, self.lmtp = free_ports(3)
        config = f"{self.folder}/dovecot.conf"
        with open(config, "w", encoding="ascii") as file:
            file.write(self.CONFIG.format(folder=self.folder, imap=self.imap, imaps=self.imaps, lmtp=self.lmtp,
                                          hibernate=self.HIBERNATE_SECONDS, fsync=self.fsync))
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

    @property
    def about(self):
        return (f"{version(self.binary())}, sdbox, mail_fsync as it comes, hibernation after {self.HIBERNATE_SECONDS} s; passwords in "
                "plain text")

    @staticmethod
    def binary():
        found = shutil.which("dovecot", path=os.environ["PATH"] + ":/usr/sbin")
        if not found:
            raise SystemExit("Dovecot is missing: .ci/install bench")
        return found

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

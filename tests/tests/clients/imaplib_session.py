"""A session of Python's imaplib against a server with an empty account; ends with 1 and the reason if one step fails.

usage: imaplib_session.py tls|starttls IMAP-PORT CA-FILE USER PASSWORD SMTP-PORT
"""
import imaplib
import re
import smtplib
import ssl
import sys
import time

mode, port, ca, user, password, smtp_port = sys.argv[1:]
trust = ssl.create_default_context(cafile=ca)


def connect():
    if mode == "tls":
        return imaplib.IMAP4_SSL("localhost", int(port), ssl_context=trust)
    client = imaplib.IMAP4("localhost", int(port))
    assert "STARTTLS" in client.capabilities, client.capabilities
    client.starttls(trust)
    return client


def ok(answer):
    kind, data = answer
    assert kind == "OK", answer
    return data


def numbers(data):
    return [int(number) for number in (data[0] or b"").split()]


def message(number):
    return (
        f"From: writer@example.test\r\nTo: {user}\r\nSubject: number {number}\r\n"
        f"Message-ID: <python-{number}@example.test>\r\nMIME-Version: 1.0\r\n"
        f"Content-Type: text/plain; charset=utf-8\r\n\r\nText {number}: Größe 😀\r\n"
    ).encode()


# Who does not know the password stays outside.
client = connect()
try:
    client.login(user, "wrong")
    raise AssertionError("a wrong password was taken")
except imaplib.IMAP4.error as error:
    assert "AUTHENTICATIONFAILED" in str(error), error
client.shutdown()

client = connect()
ok(client.login(user, password))
for word in ("IMAP4REV1", "IDLE", "UIDPLUS", "MOVE", "NAMESPACE", "SPECIAL-USE", "LITERAL+"):
    capabilities = ok(client.capability())[0].decode().upper().split()
    assert word in capabilities, (word, capabilities)
ok(client.namespace())

# Mailboxes, with a name outside of ASCII (RFC 3501 §5.1.3) and with an ampersand.
umlaut, japanese, ampersand = "Entw&APw-rfe", "&ZeVnLIqe-", "Tom &- Jerry"
for name in (umlaut, japanese, f'"{ampersand}"', "Work", "Work/2026"):
    ok(client.create(name))
    ok(client.subscribe(name))
listed = b"\n".join(ok(client.list())).decode()
for name in (umlaut, japanese, ampersand, "Work", "Work/2026", "INBOX"):
    assert name in listed, (name, listed)
ok(client.rename("Work/2026", umlaut + "/2026"))
assert umlaut + "/2026" in b"\n".join(ok(client.lsub())).decode() + b"\n".join(ok(client.list())).decode()
ok(client.delete(umlaut + "/2026"))

# APPEND, then everything that reads.
assert ok(client.select("Work")) == [b"0"]
date = imaplib.Time2Internaldate(time.mktime((2026, 2, 3, 4, 5, 6, 0, 0, -1)))
for number in range(1, 7):
    ok(client.append("Work", r"(\Seen)" if number % 2 else None, date, message(number)))
ok(client.noop())
assert client.response("EXISTS")[1][-1] == b"6"
assert numbers(ok(client.search(None, "ALL"))) == [1, 2, 3, 4, 5, 6]
assert numbers(ok(client.search(None, "SEEN"))) == [1, 3, 5]
assert numbers(ok(client.search(None, "SUBJECT", '"number 4"'))) == [4]
assert numbers(ok(client.search(None, "OR", "SUBJECT", '"number 1"', "SUBJECT", '"number 6"'))) == [1, 6]
client.literal = "Größe".encode()
assert numbers(ok(client.search("UTF-8", "BODY"))) == [1, 2, 3, 4, 5, 6]
data = ok(client.fetch("3", "(UID FLAGS INTERNALDATE RFC822.SIZE BODY.PEEK[])"))
head, body = data[0]
assert body == message(3), body
assert rb"\Seen" in head and b"RFC822.SIZE %d" % len(message(3)) in head, head
assert imaplib.Internaldate2tuple(head)[:5] == (2026, 2, 3, 4, 5), head
assert ok(client.fetch("2", "(BODY.PEEK[HEADER.FIELDS (SUBJECT)])"))[0][1] == b"Subject: number 2\r\n\r\n"
assert ok(client.fetch("2", "(BODY.PEEK[]<0.5>)"))[0][1] == b"From:"
envelope = ok(client.fetch("4", "(ENVELOPE BODYSTRUCTURE)"))[0]
assert b'"number 4"' in envelope and b'"text" "plain"' in envelope.lower(), envelope

# Flags, by number and by UID.
assert rb"\Flagged" in ok(client.store("1:2", "+FLAGS", r"(\Flagged)"))[0]
ok(client.store("2", "FLAGS", r"(\Answered $Mine)"))
assert re.search(rb"FLAGS \(([^)]*)\)", ok(client.fetch("2", "(FLAGS)"))[0]).group(1).replace(
    rb" \Recent", b"").split() in ([rb"\Answered", b"$Mine"], [b"$Mine", rb"\Answered"])
uids = numbers(ok(client.uid("SEARCH", "ALL")))
assert len(uids) == 6 and uids == sorted(set(uids)), uids
ok(client.uid("STORE", str(uids[4]), "-FLAGS.SILENT", r"(\Seen)"))
assert numbers(ok(client.uid("SEARCH", "UNSEEN"))) == [uids[1], uids[3], uids[4], uids[5]]

# COPY, MOVE, EXPUNGE.
ok(client.copy("1:2", umlaut))
ok(client.uid("COPY", str(uids[2]), umlaut))
ok(client.uid("MOVE", f"{uids[4]}:{uids[5]}", japanese))
ok(client.noop())
moved = client.response("EXPUNGE")[1]
assert moved in ([b"5", b"5"], [b"6", b"5"]), moved
assert numbers(ok(client.uid("SEARCH", "ALL"))) == uids[:4]
ok(client.store("2,4", "+FLAGS", r"(\Deleted)"))
# Each number counts from what is left: upwards 2 and 3, downwards 4 and 2.
assert [int(number) for number in ok(client.expunge())] in ([2, 3], [4, 2])
assert numbers(ok(client.uid("SEARCH", "ALL"))) == [uids[0], uids[2]]
ok(client.store("1", "+FLAGS", r"(\Deleted)"))
ok(client.close())
assert ok(client.select(umlaut, readonly=True)) == [b"3"]
try:
    # NO is clearest, but another server says OK and changes nothing.
    client.store("2", "+FLAGS", r"(\Deleted)")
except client.readonly:
    pass
assert rb"\Deleted" not in ok(client.fetch("2", "(FLAGS)"))[0], "a mailbox opened to be read is not written"
assert ok(client.select(japanese)) == [b"2"]
assert ok(client.fetch("2", "(BODY.PEEK[])"))[0][1] == message(6)
assert b"MESSAGES 1" in ok(client.status("Work", "(MESSAGES UIDNEXT UIDVALIDITY UNSEEN)"))[0]
kind, answer = client.select("Missing")
assert kind == "NO", answer

# IDLE by hand, as imaplib has no call for it (before Python 3.14).
ok(client.select("INBOX"))
client.send(b"idle1 IDLE\r\n")
assert client.readline().startswith(b"+"), "the server goes into IDLE"
with smtplib.SMTP("localhost", int(smtp_port)) as smtp:
    smtp.sendmail("writer@example.test", [user], message(7))
while b"EXISTS" not in (line := client.readline()):
    assert line, "the connection stays open in IDLE"
assert line.split()[1] == b"1", line
client.send(b"DONE\r\n")
while not (line := client.readline()).startswith(b"idle1 "):
    assert line, "DONE is answered"
assert line.startswith(b"idle1 OK"), line
data = ok(client.fetch("1", "(BODY[])"))
assert data[0][1].endswith(message(7)), data
assert rb"\Seen" in ok(client.fetch("1", "(FLAGS)"))[0], "reading a message marks it"

ok(client.unselect() if hasattr(client, "unselect") else client.close())
kind, _ = client.logout()
assert kind == "BYE", kind
print("all is well")

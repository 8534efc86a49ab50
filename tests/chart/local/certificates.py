"""What cert-manager does: certificates of a CA, with exactly the names that were rendered."""

import pathlib
import subprocess


def _openssl(*arguments: str, text: str = "") -> str:
    made = subprocess.run(["openssl", *arguments], input=text, capture_output=True, text=True, timeout=20, check=False)
    if made.returncode != 0:
        raise AssertionError(f"openssl {arguments[0]}: {made.stderr}")
    return made.stdout


def issue(ca: pathlib.Path, ca_key: pathlib.Path, folder: pathlib.Path, names: list[str]) -> None:
    """Puts `tls.crt` and `tls.key` into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    key, request, extensions = folder / "tls.key", folder / "request", folder / "extensions"
    _openssl("genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", str(key))
    _openssl("req", "-new", "-key", str(key), "-subj", "/", "-out", str(request))
    extensions.write_text(
        f"subjectAltName=critical,{','.join('DNS:' + name for name in names)}\n"
        "keyUsage=critical,digitalSignature\nextendedKeyUsage=serverAuth,clientAuth\nbasicConstraints=critical,CA:FALSE\n"
        "authorityKeyIdentifier=keyid\n"
    )
    _openssl(
        "x509", "-req", "-in", str(request), "-CA", str(ca), "-CAkey", str(ca_key), "-days", "2",
        "-extfile", str(extensions), "-out", str(folder / "tls.crt"),
    )
    request.unlink()
    extensions.unlink()

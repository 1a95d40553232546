"""Where the program inside the archives starts; `backup.spec` puts it there.

`[sys.executable, "-m", "dfx_backup.replica", ...]` starts the replica here as it does with Python.
"""

import os
import sys

from dfx_backup_built import CERTIFICATES  # `backup.spec` writes it

_REPLICA = ["-m", "dfx_backup.replica"]
_BUNDLES = (
    "/etc/ssl/certs/ca-certificates.crt",  # Debian, Ubuntu, Arch
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",  # Fedora, RHEL
    "/etc/ssl/ca-bundle.pem",  # openSUSE
    "/etc/ssl/cert.pem",  # Alpine, macOS
)


def _forget_the_loader() -> None:
    """Take back what the loader told itself: programs that we start have their own libraries."""
    former = os.environ.pop("LD_LIBRARY_PATH_ORIG", None)
    os.environ.pop("LD_LIBRARY_PATH", None)
    if former is not None:
        os.environ["LD_LIBRARY_PATH"] = former
    for name in [name for name in os.environ if name.startswith("_PYI_")]:
        del os.environ[name]


def _find_certificates() -> None:
    """Name the system's certificates where OpenSSL would look for them as on the builder's system.

    Without any, those that come with the program are better than none.
    """
    told = {"SSL_CERT_FILE", "SSL_CERT_DIR"} & os.environ.keys()
    if told or any(map(os.path.exists, CERTIFICATES)):
        return
    found = next(filter(os.path.exists, _BUNDLES), None)
    if found is not None:
        os.environ["SSL_CERT_FILE"] = found
        return
    from certifi import where  # noqa: PLC0415 - takes a while, and hardly anybody needs it

    os.environ["SSL_CERT_FILE"] = where()


def main() -> None:
    """Run the program, or the replica."""
    _forget_the_loader()
    _find_certificates()
    if sys.argv[1:3] == _REPLICA:
        from dfx_backup.replica.__main__ import main as replica  # noqa: PLC0415 - the other program

        sys.exit(replica(sys.argv[3:]))
    from dfx_backup.__main__ import run  # noqa: PLC0415 - the other program

    run()


main()

from __future__ import annotations

import ssl
import subprocess

import pytest

from stgraph.data.datasets.download import DownloadError
from stgraph.data.datasets.transfer import Transfer
from tests.data.datasets.file_server import CONTENT, remote, serving


def test_certificates_are_verified():
    context = Transfer(1.0).context
    assert context.check_hostname
    assert context.verify_mode == ssl.CERT_REQUIRED


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    """Key and certificate of 127.0.0.1, signed by itself, in one file."""
    folder = tmp_path_factory.mktemp("certificate")
    command = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 1 -subj /CN=127.0.0.1"
    command += " -addext subjectAltName=IP:127.0.0.1 -keyout key.pem -out public.pem"
    try:
        subprocess.run(command.split(), cwd=folder, check=True, capture_output=True)
    except (FileNotFoundError, subprocess.CalledProcessError):
        pytest.skip("there is no openssl that can make a certificate")
    path = folder / "both.pem"
    path.write_text((folder / "key.pem").read_text() + (folder / "public.pem").read_text())
    return path


def test_a_certificate_that_nobody_signed_is_refused(get, certificate):
    with serving(certificate) as secure, pytest.raises(DownloadError, match="certificate cannot be verified"):
        get(remote(secure.url("/a")))
    assert secure.requests == []


def test_a_verified_connection_does_not_lead_to_another(server, get, certificate, monkeypatch):
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    with serving(certificate) as secure:
        assert get(remote(secure.url("/a"))).read_bytes() == CONTENT
        redirect = secure.url("/b", status=302, location=server.url("/c"), content=b"")
        with pytest.raises(DownloadError, match=r"redirects to http://.*/c, which is not https://"):
            get(remote(redirect, name="other.h5"))
    assert server.requests == []

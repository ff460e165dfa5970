"""Clients that are slow, many, or never come to the point; and https."""

import datetime
import socket
import ssl

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from pruneguard.errors import InvalidInputError
from pruneguard.serving.server import Server, Tls
from tests.serving.scene import JSON_ROW, Scene, gateway, mark
from tests.serving.worker_scene import until

REQUEST = b"POST /v2/models/digits/infer HTTP/1.1\r\nhost: x\r\n"


@pytest.fixture
def made(tmp_path):
    scene = Scene(tmp_path)
    scene.release()
    return gateway(scene)


def serve(made, **more):
    return Server(made.app, host="127.0.0.1", port=0, **more)


def connect(server):
    return socket.create_connection(("127.0.0.1", server.port), timeout=20)


def ended(connection):
    """Whether the other side closes it, whatever it says before."""
    try:
        while connection.recv(65536):
            pass
    except ConnectionError:
        pass
    return True


@pytest.mark.parametrize("begun", [b"", REQUEST[:10], REQUEST])
def test_a_client_whose_headers_never_end_is_not_waited_for(made, monkeypatch, begun):
    monkeypatch.setattr("pruneguard.serving.connections.HEADER_SECONDS_MAX", 0.2)
    with serve(made) as server, connect(server) as slow:
        slow.sendall(begun)
        assert ended(slow)
        assert mark(httpx.post(f"{server.url}/v2/models/digits/infer", json=JSON_ROW)) == 1


def test_a_connection_that_rests_between_requests_is_left_alone(made, monkeypatch):
    monkeypatch.setattr("pruneguard.serving.connections.HEADER_SECONDS_MAX", 0.2)
    with serve(made) as server, httpx.Client() as client:
        first = client.post(f"{server.url}/v2/models/digits/infer", json=JSON_ROW)
        with connect(server) as slow:
            assert ended(slow)  # in the meantime
        again = client.post(f"{server.url}/v2/models/digits/infer", json=JSON_ROW)
        stream = first.extensions["network_stream"], again.extensions["network_stream"]
        assert stream[0].get_extra_info("client_addr") == stream[1].get_extra_info("client_addr")


def test_headers_without_end_are_not_kept(made):
    with serve(made) as server, connect(server) as flood:
        with pytest.raises(ConnectionError):  # long before it all was sent
            flood.sendall(REQUEST + (b"x: " + b"a" * 10_000 + b"\r\n") * 10_000)
        assert mark(httpx.post(f"{server.url}/v2/models/digits/infer", json=JSON_ROW)) == 1


def test_a_client_that_does_not_read_its_answers_is_let_go(made, monkeypatch):
    monkeypatch.setattr("pruneguard.serving.connections.UNREAD_SECONDS_MAX", 0.2)
    with serve(made) as server, socket.socket() as deaf:
        deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        deaf.connect(("127.0.0.1", server.port))
        deaf.settimeout(20)
        with pytest.raises(ConnectionError):
            deaf.sendall(b"GET /v2/models/digits HTTP/1.1\r\nhost: x\r\n\r\n" * 1_000_000)


def test_more_connections_than_the_limit_are_told_to_come_back_and_the_others_go_on(made):
    with serve(made, connections_max=2) as server, httpx.Client() as client:
        assert mark(client.post(f"{server.url}/v2/models/digits/infer", json=JSON_ROW)) == 1
        with connect(server):
            until(lambda: len(server._door.open) == 2, "the second connection")
            turned_away = httpx.get(f"{server.url}/v2/health/live")
            assert turned_away.status_code == 503
            assert turned_away.headers["retry-after"] == "1"
            assert "too many connections" in turned_away.json()["error"]
            assert mark(client.post(f"{server.url}/v2/models/digits/infer", json=JSON_ROW)) == 1
        until(lambda: httpx.get(f"{server.url}/v2/health/live").status_code == 200, "room")
        assert server.turned_away >= 1


def test_a_server_that_stops_lets_a_kept_connection_ask_once_more_and_says_that_it_ends(made):
    with httpx.Client() as client:
        server = serve(made)
        server.start()
        assert mark(client.post(f"{server.url}/v2/models/digits/infer", json=JSON_ROW)) == 1
        server._server.linger_s = 20.0
        server._server.should_exit = True
        until(lambda: server._door.leaving, "its leaving")
        last = client.post(f"{server.url}/v2/models/digits/infer", json=JSON_ROW)
        assert mark(last) == 1
        assert last.headers["connection"] == "close"
        server.stop()
        with pytest.raises(httpx.ConnectError):
            client.get(f"{server.url}/v2/health/live")


def certificate(folder, name="localhost"):
    """A certificate of its own authority, as files."""
    key = ec.generate_private_key(ec.SECP256R1())
    about = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.datetime.now(datetime.UTC)
    built = (
        x509.CertificateBuilder()
        .subject_name(about)
        .issuer_name(about)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .sign(key, hashes.SHA256())
    )
    tls = Tls(folder / "cert.pem", folder / "key.pem")
    tls.cert.write_bytes(built.public_bytes(serialization.Encoding.PEM))
    plain = serialization.NoEncryption()
    tls.key.write_bytes(key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain))
    return tls


def test_with_a_certificate_it_speaks_https(made, tmp_path):
    tls = certificate(tmp_path)
    with serve(made, tls=tls) as server:
        assert server.url.startswith("https://")
        verify = ssl.create_default_context(cafile=tls.cert)
        with httpx.Client(verify=verify) as client:
            url = f"https://localhost:{server.port}/v2/models/digits/infer"
            assert mark(client.post(url, json=JSON_ROW)) == 1
        with pytest.raises(httpx.TransportError):
            httpx.get(f"http://127.0.0.1:{server.port}/v2/health/live")


def test_files_that_are_no_certificate_are_refused_by_the_names_of_their_settings(made, tmp_path):
    tls = certificate(tmp_path)
    tls.key.write_text("no key")
    with pytest.raises(InvalidInputError, match=r"PRUNEGUARD_TLS_CERT=.*PRUNEGUARD_TLS_KEY="):
        serve(made, tls=tls)
    with pytest.raises(InvalidInputError, match="absent"):
        serve(made, tls=Tls(tmp_path / "absent.pem", tls.key))

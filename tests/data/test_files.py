import hashlib
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from hpo_gn.data.files import data_root, download, existing, folders
from hpo_gn.errors import DataError

CONTENT = b"some data"
MD5 = hashlib.md5(CONTENT).hexdigest()


class Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(CONTENT)))
        self.end_headers()
        self.wfile.write(CONTENT)

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def address(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The address of a local server that has CONTENT under every name."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()
    thread.join()
    server.server_close()


def test_the_root_is_the_argument_then_the_environment_then_the_cache(monkeypatch, tmp_path):
    monkeypatch.setenv("HPO_GN_DATA", str(tmp_path))
    assert data_root(Path("mine")) == Path("mine")
    assert data_root(None) == tmp_path
    monkeypatch.delenv("HPO_GN_DATA")
    assert data_root(None).name == "hpo_gn"


def test_the_first_place_that_has_a_name_wins(tmp_path):
    places = folders("mnist", tmp_path, str(tmp_path / "other"))
    assert places == [tmp_path / "mnist", tmp_path, tmp_path / "other"]
    assert existing(places, ("a", "b")) is None
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "a").touch()
    assert existing(places, ("a", "b")) == tmp_path / "other" / "a"
    (tmp_path / "b").touch()
    assert existing(places, ("a", "b")) == tmp_path / "b"


def test_a_download_lands_in_the_first_place(tmp_path, address):
    path = download("mine", f"{address}file.gz", MD5, folders("mine", tmp_path))
    assert path == tmp_path / "mine" / "file.gz"
    assert path.read_bytes() == CONTENT


def test_a_download_with_another_checksum_is_refused_and_leaves_nothing(tmp_path, address):
    with pytest.raises(DataError, match=r"file\.gz cannot be downloaded \(another checksum\)"):
        download("mine", f"{address}file.gz", "0" * 32, folders("mine", tmp_path))
    assert not (tmp_path / "mine" / "file.gz").exists()


@pytest.mark.usefixtures("no_download")
def test_without_a_network_one_line_says_what_was_tried_and_where_to_put_the_file(tmp_path):
    with pytest.raises(DataError) as caught:
        download("mine", "http://official.example/file.gz", MD5, folders("mine", tmp_path))
    message = str(caught.value)
    assert "\n" not in message
    for part in ("mine: file.gz", str(tmp_path / "mine"), "http://official.example/file.gz", "HPO_GN_DATA"):
        assert part in message

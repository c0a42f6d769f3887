import pytest
from fsspec.registry import known_implementations

from hpo_gn.checkpoint import Checkpoints
from hpo_gn.errors import ArgumentError, CheckpointError
from hpo_gn.file_store import as_component, below, open_files
from hpo_gn.local_files import LocalFiles
from hpo_gn.remote_files import RemoteFiles

URL = "a folder or an fsspec URL, such as s3://bucket/folder"
LITERAL = "a URL without any of * ? ["


@pytest.mark.parametrize(
    ("root", "place", "text"),
    [
        ("runs/x", LocalFiles, "runs/x"),
        ("a::b", LocalFiles, "a::b"),
        ("file:///runs/x", LocalFiles, "/runs/x"),
        ("local:///runs/x", LocalFiles, "/runs/x"),
        ("memory://runs/x", RemoteFiles, "memory://runs/x"),
        ("ftp://me@host/x", RemoteFiles, "ftp://me@host/x"),
        ("ftp://me:hunter2@host/x", RemoteFiles, "ftp://me:***@host/x"),
        ("ftp://me:hun@ter/2:@host/x", RemoteFiles, "ftp://me:***@host/x"),
        ("dir://x::ftp://me:hunter2@host/x", RemoteFiles, "dir://x:***@host/x"),
    ],
)
def test_what_a_root_is(root, place, text):
    """None of them is connected to."""
    files = open_files("checkpoints", root)
    assert isinstance(files, place)
    assert str(files) == text
    assert "hunter2" not in repr(files)
    assert repr(Checkpoints(root)) == f"Checkpoints({text!r})"


@pytest.mark.parametrize(
    ("root", "rule", "shown"),
    [
        ("", URL, "''"),
        ("://x", URL, "'://x'"),
        ("nosuch://me:hunter2@host/x", URL, "'nosuch://me:***@host/x'"),
        ("dir://x::nosuch://y", URL, "'dir://x::nosuch://y'"),
        ("memory://x/[1]", LITERAL, "'memory://x/[1]'"),
        ("ftp://host/x?password=hunter2", LITERAL, "'ftp://host/x?***'"),
    ],
)
def test_what_no_root_is(root, rule, shown):
    with pytest.raises(ArgumentError) as refused:
        open_files("checkpoints", root)
    assert str(refused.value) == f"checkpoints must be {rule}, got {shown}"


def test_a_package_that_is_missing(monkeypatch):
    known = {"class": "no_such_package.System", "err": "Install no-such-package to access it"}
    monkeypatch.setitem(known_implementations, "elsewhere", known)
    with pytest.raises(CheckpointError) as refused:
        open_files("checkpoints", "elsewhere://me:hunter2@host/x")
    shown = "checkpoints 'elsewhere://me:***@host/x' cannot be used: Install no-such-package to access it"
    assert str(refused.value) == shown


@pytest.mark.parametrize(
    ("root", "expected"),
    [
        ("runs", "runs/a%2Fb"),
        ("/runs/", "/runs/a%2Fb"),
        ("memory://", "memory://a%2Fb"),
        ("s3://bucket/x", "s3://bucket/x/a%2Fb"),
        ("dir://x::file:///disk", "dir://x/a%2Fb::file:///disk"),
        ("simplecache::s3://bucket", "simplecache::s3://bucket/a%2Fb"),
    ],
)
def test_a_root_below(root, expected):
    assert below(root, "a/b") == expected


@pytest.mark.parametrize(
    ("name", "component"),
    [
        ("digits-mlp", "digits-mlp"),
        ("../../x", "..%2F..%2Fx"),
        ("/abs", "%2Fabs"),
        (".", "%2E"),
        ("..", "%2E%2E"),
        ("", "%"),
        ("con:|?\n", "con%3A%7C%3F%0A"),
        ("é", "%C3%A9"),
    ],
)
def test_a_name_becomes_one_component(name, component):
    assert as_component(name) == component


def test_long_names_are_cut_and_stay_apart():
    made = {as_component("x" * 500 + end) for end in "ab"} | {as_component("é" * 400)}
    assert len(made) == 3
    assert max(map(len, made)) < 255

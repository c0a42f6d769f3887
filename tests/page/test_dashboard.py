"""A search's study opens in optuna-dashboard as it is."""

import io
import json
import sys

import optuna
import pytest

from hpo_gn.retraining import retraining_name
from tests.page.studies import STUDY


def get(app, path):
    """The status and the JSON that a WSGI application answers a GET with."""
    answered = []
    environ = {
        "REQUEST_METHOD": "GET",
        "PATH_INFO": path,
        "SERVER_NAME": "here",
        "SERVER_PORT": "80",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "wsgi.url_scheme": "http",
        "wsgi.input": io.BytesIO(),
        "wsgi.errors": sys.stderr,
    }
    body = b"".join(app(environ, lambda status, headers, *rest: answered.append(status)))
    return answered[0], json.loads(body)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
def test_a_searchs_study_opens_in_optuna_dashboard(copied):
    from optuna_dashboard import wsgi

    app = wsgi(copied)
    status, answer = get(app, "/api/studies")
    assert status.startswith("200")
    studies = {each["study_name"]: each["study_id"] for each in answer["study_summaries"]}
    assert STUDY in studies
    assert any(name.startswith(retraining_name(STUDY, 0)[:-1]) for name in studies)
    for name, number in studies.items():
        status, answer = get(app, f"/api/studies/{number}")
        assert status.startswith("200")
        assert len(answer["trials"]) == len(optuna.load_study(study_name=name, storage=copied).trials) > 0
        assert all(trial["user_attrs"] for trial in answer["trials"])

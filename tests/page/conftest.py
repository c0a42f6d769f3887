"""A search to report, and a browser to look at pages with."""

import json
import os
import re
import shutil
import sqlite3
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from hpo_gn.database_url import sqlite_url
from hpo_gn.experiment import Experiment, make_objective
from hpo_gn.search import search
from hpo_gn.space import paper_space
from tests.page.studies import STUDY


@pytest.fixture(scope="session")
def searched(tmp_path_factory) -> Path:
    """The folder of a finished search in which AGN alone decides."""
    folder = tmp_path_factory.mktemp("searched")
    experiment = Experiment(
        data="digits",
        model="mlp",
        space=paper_space(),
        objective=make_objective("agn-val", alpha=1e6),
        searcher="random",
        pruner="give-up",
        shadows=0.5,
        epochs=2,
        fraction=0.5,
    )
    search(experiment, budget=24, workers=1, device="cpu", study=STUDY, output=folder, seeds=2)
    return folder


@pytest.fixture
def copied(searched, tmp_path) -> str:
    """The URL of a copy of its database."""
    with sqlite3.connect(searched / "study.db") as there, sqlite3.connect(tmp_path / "study.db") as here:
        there.backup(here)
    here.close()
    there.close()
    return sqlite_url(tmp_path / "study.db")


_SCRIPT = """
<script>addEventListener("load", () => {
  const all = selector => [...document.querySelectorAll(selector)];
  const text = selector => all(selector).map(each => each.textContent.trim());
  const ids = all("[id]").map(each => each.id);
  const measured = {
    width: innerWidth,
    scroll_width: document.documentElement.scrollWidth,
    requests: performance.getEntriesByType("resource").map(each => each.name),
    headings: text("h2"),
    captions: text("figcaption"),
    tables: all("table").map(each => [each.rows.length, each.offsetWidth, each.offsetHeight]),
    drawings: all("svg").map(each =>
      [each.clientWidth, each.clientHeight, each.querySelectorAll("path").length]),
    unlabelled: all("svg").filter(each => !each.closest("[role=img][aria-label]")).length,
    repeated_ids: ids.filter((id, place) => ids.indexOf(id) !== place),
    broken: all("use").map(each => each.getAttribute("href")).filter(id => !ids.includes(id.slice(1))),
    ground: getComputedStyle(document.body).backgroundColor,
    ink: getComputedStyle(document.body).color,
  };
  const place = document.createElement("pre");
  place.id = "measured-by-the-test";
  place.textContent = JSON.stringify(measured);
  document.body.append(place);
});</script>
"""


@dataclass(frozen=True)
class Seen:
    """A page as a browser shows it.

    Args:
        measured: what a script found in it.
        console: what the browser complained of.
    """

    measured: dict[str, Any]
    console: list[str]


Look = Callable[..., Seen]


@pytest.fixture
def look(tmp_path) -> Look:
    """A function: page, width in pixels, dark → as headless Chromium shows it, which reaches no network.

    Skips the test where there is no Chromium; with CI=true fails it.
    """
    chromium = shutil.which("chromium")
    if chromium is None:
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)(
            "no chromium: run tests/fetch_data.py"
        )

    def look_at(page: Path, width: int, *, dark: bool = False) -> Seen:
        copy = tmp_path / f"{page.stem}-measured.html"
        copy.write_text(page.read_text().replace("</body>", f"{_SCRIPT}</body>"))
        run = subprocess.run(
            [
                chromium,
                "--headless",
                "--no-sandbox",
                "--disable-gpu",
                "--disable-dev-shm-usage",
                "--hide-scrollbars",
                "--enable-logging=stderr",
                "--host-resolver-rules=MAP * ~NOTFOUND",
                f"--user-data-dir={tmp_path / 'profile'}",
                f"--window-size={width},900",
                f"--blink-settings=preferredColorScheme={0 if dark else 1}",
                "--dump-dom",
                copy.as_uri(),
            ],
            capture_output=True,
            text=True,
            timeout=300,
        )
        found = re.search(r'<pre id="measured-by-the-test">(.*?)</pre>', run.stdout, re.DOTALL)
        assert found is not None, run.stdout[-2000:] + run.stderr[-2000:]
        unescaped = found[1].replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")
        return Seen(json.loads(unescaped), [line for line in run.stderr.splitlines() if "CONSOLE" in line])

    return look_at

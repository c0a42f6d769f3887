import sys
from contextlib import contextmanager
from dataclasses import replace
from functools import partial

import pytest
import torch

from benchmarks.measures import __main__ as command
from benchmarks.measures import networks, passes, per_sample, sharpness, spectra
from benchmarks.measures.networks import SIZES, Size, prepare
from benchmarks.measures.ours import Prepared
from benchmarks.measures.per_sample import Group
from benchmarks.measures.rows import Bar, Row
from benchmarks.measures.timing import Effort, interleave, peak_bytes

ONCE = Effort(rounds=1, seconds=0)
CPU = torch.device("cpu")


@pytest.fixture(scope="module", autouse=True)
def _little():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(networks, "STEPS", 1)
        for module in (per_sample, passes):
            patch.setattr(module, "SIGNS", 4)
        patch.setattr(sharpness, "Sharpness", partial(sharpness.Sharpness, iterations=1))
        patch.setattr(passes.torch, "compile", lambda model: model)  # it takes as long as all the rest
        yield


@pytest.fixture(scope="module", params=SIZES)
def rows(request):
    return request.param, list(command.network_rows(tiny(request.param), ONCE))


def tiny(name, side=28):
    generator = torch.Generator().manual_seed(0)
    inputs, targets = torch.randn(64, 1, side, side, generator=generator), torch.arange(64) % 10
    return prepare(name, inputs, targets, Size(8, 4, evaluated=8, walked=8, trained=8, sharp=2))


@pytest.mark.slow
def test_every_row_of_a_network_is_timed_or_says_that_its_peer_is_not_installed(rows):
    _, rows = rows
    assert all(
        row.note.startswith("not installed") or (len(row.ratios) == 1 and row.ratios[0] > 0) for row in rows
    )
    found = {row.measure.split(",")[0] for row in rows if row.ratios}
    assert found == {"F+B", "GN", "GradSign", "GSNR", "AGN", "Sharpness"}
    assert all(row.peak > 0 for row in rows if row.ratios and "compiled" not in row.method)


@pytest.mark.slow
def test_the_issues_bars_stand_at_our_rows(rows):
    name, rows = rows
    assert [row.bar.most for row in rows if row.bar] == {
        "mlp": [0.65, 1.2, 1.5, 1.02, 1.05],
        "lenet5": [1.25, 1.3, 1.3, 1.02, 0.8, 1.05],
        "resnet20": [1.2, 1.35, 1.2, 1.4, 1.02, 0.8, 1.05],
    }[name]
    (sharpness,) = [row for row in rows if row.measure == "Sharpness"]
    assert "≤ 12 F+B at ≥ 0.995" in sharpness.note


def test_spectra_are_right_and_timed_at_each_width():
    rows = list(spectra.rows(ONCE, widths=(8, 16)))
    assert [row.method for row in rows] == [
        f"{kind}, d = {width}" for kind in spectra.MATRICES for width in (8, 16)
    ]
    assert all(row.ratios[0] > 0 and not row.failed for row in rows)


def test_nothing_is_compiled_without_a_compiler(monkeypatch):
    monkeypatch.setattr(passes.shutil, "which", lambda name: None)
    assert "no C++ compiler" in str(passes.compiled_agn(tiny("lenet5"), ONCE))


@pytest.mark.parametrize("module", ["opacus.grad_sample", "backpack.extensions"])
def test_a_peer_that_is_not_installed_is_a_row(monkeypatch, module):
    monkeypatch.setitem(sys.modules, module, None)
    case = tiny("mlp")
    rows = list(per_sample.rows(case, per_sample.groups(case)[0], ONCE))
    assert [row.note for row in rows if module.partition(".")[0] in row.method.lower()] == [
        f"not installed: {module}"
    ]


@contextmanager
def constant(value, model, inputs, targets):
    yield Prepared(lambda: None, lambda: torch.full((len(targets),), value))


def test_a_peer_whose_result_is_not_ours_is_not_timed():
    methods = {
        "ours": partial(constant, 1.0),
        "near": partial(constant, 1.0005),
        "off": partial(constant, 1.01),
    }
    rows = list(per_sample.rows(tiny("mlp"), Group("m", methods, Bar(1e9), 8), ONCE))
    assert [bool(row.ratios) for row in rows] == [True, True, False]
    assert rows[2].missed
    assert "differs from ours by 1.0e-02" in str(rows[2])


def test_a_method_of_some_samples_is_scaled_up_to_the_batch(monkeypatch):
    @contextmanager
    def half(model, inputs, targets):
        yield Prepared(lambda: None, lambda: torch.ones(4), samples=4)

    timing = type("Timing", (), {"ratios": [1.5]})
    monkeypatch.setattr(per_sample, "interleave", lambda *_: timing)
    rows = list(per_sample.rows(tiny("mlp"), Group("m", {"ours": half}, None, 8), ONCE))
    assert rows[0].ratios == [3.0]


def test_unit_and_method_alternate_and_the_first_round_does_not_count():
    calls = []
    timing = interleave(
        partial(calls.append, "unit"), partial(calls.append, "method"), Effort(3, 1e9), device=CPU
    )
    assert calls == ["unit", "method", "method", "unit"] * 2
    assert len(timing.ratios) == 3


def test_rounds_end_when_the_time_is_over_but_five_are_made():
    timing = interleave(lambda: sum(range(10_000)), lambda: None, Effort(100, 1e-9), device=CPU)
    assert len(timing.ratios) == 5


def test_the_peak_counts_what_is_held_at_a_time():
    def hold_two_of_three():
        first = torch.zeros(1_000_000)
        second = first + 1
        del first
        return second * 2

    assert peak_bytes(hold_two_of_three, CPU) == pytest.approx(8e6, rel=1e-3)


def test_a_row_says_whether_it_misses_its_bar():
    row = Row("GN", "ours", [0.5, 0.7, 0.6], 2_000_000, Bar(0.65, 0.6))
    assert str(row).split()[:6] == ["GN", "ours", "0.600", "0.500–0.700", "3", "2.0"]
    assert str(row).endswith("≤ 0.65, goal 0.6: reached")
    assert not row.missed
    assert "missed" in str(replace(row, ratios=[0.66]))
    assert replace(row, failed=True).missed


def test_the_command_writes_what_it_prints_and_fails_if_a_bar_is_missed(monkeypatch, tmp_path, capsys):
    shown = [Row("a", "ours", [1.0], bar=Bar(2)), Row("b", "ours", [3.0], bar=Bar(2))]
    monkeypatch.setattr(command, "network_rows", lambda case, effort: shown)
    monkeypatch.setattr(command.spectra, "rows", lambda effort: [])
    monkeypatch.setattr(command, "keep_freed_memory", lambda: False)
    monkeypatch.setattr(
        sys, "argv", ["measures", "--networks", "mlp", "--output", str(tmp_path / "table.txt")]
    )
    assert command.main() == 1
    text = (tmp_path / "table.txt").read_text()
    assert text == capsys.readouterr().out
    assert text.endswith("\n1 rows miss a bar\n")

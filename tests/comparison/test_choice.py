import re

import pytest

from hpo_gn.comparison.choice import Choice, read_choices
from hpo_gn.errors import HpoGnError

ALPHAS = {"name": "agn-val", "alpha": [1e-5, 1e-3]}


def taken(name):
    return ["alpha", "gated"]


@pytest.mark.parametrize(
    ("value", "labels"),
    [
        ("val-loss", ["val-loss"]),
        (["val-loss", "agn-val"], ["val-loss", "agn-val"]),
        ({"name": "agn-val"}, ["agn-val"]),
        (ALPHAS, ["agn-val(alpha=1e-05)", "agn-val(alpha=0.001)"]),
        (
            [ALPHAS | {"gated": [True, False]}],
            [
                "agn-val(alpha=1e-05, gated)",
                "agn-val(alpha=1e-05, gated=False)",
                "agn-val(alpha=0.001, gated)",
                "agn-val(alpha=0.001, gated=False)",
            ],
        ),
    ],
)
def test_a_list_and_a_list_in_a_setting_are_products(value, labels):
    assert [choice.label for choice in read_choices("objective", value, taken)] == labels


def test_a_slug_needs_no_quoting():
    assert Choice("agn-val", {"alpha": 1e-5, "agn": "online"}).slug == "agn-val,alpha=1e-05,agn=online"


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ([], "objective must be a value or more, since a product with nothing is empty, got []"),
        (3, "objective must be a name, or a mapping of a name and its settings, got 3"),
        (None, "objective must be a name, or a mapping of a name and its settings, got None"),
        ("", "objective must be a name, or a mapping of a name and its settings, got ''"),
        ({"alpha": 1}, "a mapping of a name and its settings, got {'alpha': 1}"),
        ({"name": "agn-val", "alfa": 1}, "is called 'alfa'; did you mean 'alpha'?"),
        ({"name": "agn-val", "alpha": []}, "alpha of objective agn-val must be a string, number or boolean"),
        ({"name": "agn-val", "alpha": None}, "or a list of those, got None"),
        (
            {"name": "agn-val", "budget": 9},
            "objective agn-val cannot have budget: a comparison has one budget",
        ),
        (
            {"name": "agn-val", "epochs": 9},
            "objective agn-val cannot have epochs: a comparison has one budget",
        ),
        (["val-loss", "val-loss"], "objective val-loss is there twice"),
        ([ALPHAS, {"name": "agn-val", "alpha": 1e-3}], "objective agn-val(alpha=0.001) is there twice"),
    ],
)
def test_what_is_wrong_is_said(value, message):
    with pytest.raises(HpoGnError, match=re.escape(message)):
        read_choices("objective", value, taken)


def test_where_nothing_takes_settings_a_mapping_is_refused():
    with pytest.raises(HpoGnError, match=r"searcher must be a name, got \{'eta': 3, 'name': 'bohb'\}"):
        read_choices("searcher", {"name": "bohb", "eta": 3})

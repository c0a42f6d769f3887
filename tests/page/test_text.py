import re
import shutil
import subprocess

import pytest

from hpo_gn.page.text import latex, markdown, plain


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a|b", r"a\|b"),
        ("val_loss *x* `y` [z] #1 $2 ~ \\", r"val\_loss \*x\* \`y\` \[z\] \#1 \$2 \~ \\"),
        ("<script>&", "&lt;script&gt;&amp;"),
        ("two\nlines", "two lines"),
    ],
)
def test_markdown_is_escaped(text, expected):
    assert markdown(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (r"50 % of a_b & #1 {x} $y^2~\ ", r"50 \% of a\_b \& \#1 \{x\} \$y\textasciicircum{}2"
         r"\textasciitilde{}\textbackslash{}"),
        ("α × 2 ± 1 ≥ −3", r"$\alpha$ $\times$ 2 $\pm$ 1 $\geq$ $-$3"),
        ("--storage", "-{}-storage"),
        ("a---b", "a-{}--b"),
        ("<b> [x] 中 é", r"\textless{}b\textgreater{} {[}x{]} {[}U+4E2D{]} é"),
    ],
)  # fmt: skip
def test_latex_is_escaped(text, expected):
    assert latex(text) == expected


def test_what_cannot_be_shown_becomes_a_mark():
    assert plain("a\x00b\ud800c\x1b[31m\n d ") == "a�b�c�[31m d"


def test_a_hard_space_stays():
    assert plain("n\u00a0=  3") == "n\u00a0= 3"
    assert latex("n\u00a0= 3") == "n~= 3"


def test_every_latin_character_and_sign_compiles_in_plain_pdflatex(tmp_path):
    signs = "".join(chr(code) for code in [*range(0x20, 0x180), *range(0x391, 0x3C9), *range(0x2010, 0x2300)])
    escaped = latex(signs)
    without_formulas = re.sub(r"(?<!\\)\$[^$]*\$", "", escaped)
    assert not re.search(r"(?<!\\)[%&#_$^]", without_formulas)
    if shutil.which("pdflatex") is None:
        assert all(each.isascii() or "À" <= each <= "ÿ" for each in escaped)
        return
    lines = r"\documentclass{article}\usepackage[utf8]{inputenc}\usepackage[T1]{fontenc}\usepackage{textcomp}"
    (tmp_path / "signs.tex").write_text(rf"{lines}\begin{{document}}{escaped}\end{{document}}")
    command = ["pdflatex", "-halt-on-error", "-interaction=nonstopmode", "signs.tex"]
    run = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert run.returncode == 0, run.stdout[-2000:]

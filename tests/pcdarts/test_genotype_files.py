import json
from pathlib import Path
from typing import Any

import pytest

from classification.errors import ArtifactError, ConfigError
from pcdarts.genotype import Genotype
from pcdarts.genotype_files import find_genotype, parse_tuple, read_genotype
from pcdarts.published_genotypes import GENOTYPES, PAPERS
from pipeline.exports.genotype import darts_form

# As in the genotypes.py of the DARTS repository.
DARTS_V1 = """
from collections import namedtuple

Genotype = namedtuple('Genotype', 'normal normal_concat reduce reduce_concat')

PRIMITIVES = ['none', 'max_pool_3x3']

DARTS_V1 = Genotype(normal=[('sep_conv_3x3', 1), ('sep_conv_3x3', 0), ('skip_connect', 0), ('sep_conv_3x3', 1), ('skip_connect', 0), ('sep_conv_3x3', 1), ('sep_conv_3x3', 0), ('skip_connect', 2)], normal_concat=[2, 3, 4, 5], reduce=[('max_pool_3x3', 0), ('max_pool_3x3', 1), ('skip_connect', 2), ('max_pool_3x3', 0), ('max_pool_3x3', 0), ('skip_connect', 2), ('skip_connect', 2), ('avg_pool_3x3', 0)], reduce_concat=[2, 3, 4, 5])
DARTS = DARTS_V1
"""  # noqa: E501


def changed(old: str, new: str) -> str:
    text = darts_form(GENOTYPES["darts_v2"])
    assert old in text
    return text.replace(old, new, 1)


def nested_too_deeply(sign: str) -> str:
    return sign * 60_000 + "1"


def test_a_published_name_is_found_and_has_a_paper() -> None:
    assert list(GENOTYPES) == list(PAPERS)
    assert find_genotype("darts_v1") == parse_tuple(DARTS_V1, "here")


def test_an_unknown_name_is_refused_with_the_names() -> None:
    message = (
        "genotype: found 'darts_v3', which is no published genotype and no file; did you mean "
        "darts_v[12]\\? allowed: darts_v1, darts_v2, pcdarts_cifar10, pcdarts_imagenet, or a file"
    )
    with pytest.raises(ConfigError, match=message):
        find_genotype("darts_v3")


@pytest.mark.parametrize("name", GENOTYPES)
def test_both_forms_of_a_file_read_equal(name: str, tmp_path: Path) -> None:
    GENOTYPES[name].save(tmp_path / "ours")
    (tmp_path / "tuple").write_text(f"2026-11-28\n{name} = {darts_form(GENOTYPES[name])}\n")
    assert find_genotype(str(tmp_path / "ours")) == GENOTYPES[name]
    assert read_genotype(tmp_path / "tuple") == GENOTYPES[name]


def test_positions_and_an_attribute_are_read_too() -> None:
    text = darts_form(GENOTYPES["darts_v2"])
    for field in ("normal_concat=", "reduce_concat=", "normal=", "reduce="):
        text = text.replace(field, "")
    assert parse_tuple(f"x = genotypes.{text}", "here") == GENOTYPES["darts_v2"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (changed("sep_conv_3x3", "sep_conv_7x7"), "normal: node 0: unknown operation 'sep_conv_7"),
        (
            changed("('dil_conv_3x3', 2)", "('dil_conv_3x3', 5)"),
            "node 3: source 5; allowed",
        ),
        (
            changed("('sep_conv_3x3', 1)", "('sep_conv_3x3', 0)"),
            "normal: node 0: both edges come from source 0; allowed: two different sources",
        ),
        (
            changed("('sep_conv_3x3', 0),", "('sep_conv_3x3', 0), ('skip_connect', 1), (1, 2),"),
            "normal: found 10 edges; a cell has 8, two for each of 4 nodes",
        ),
        (changed("range(2, 6)", "range(3, 6)"), r"normal_concat: found range\(3, 6\); in this"),
        (changed("range(2, 6)", "[4, 5, 6]"), r"normal_concat: found \[4, 5, 6\]"),
        (changed("range(2, 6)", "range(*x)"), r"normal_concat: found 'range\(\*x\)'"),
        (changed("range(2, 6)", "0x" + "f" * 9000), "a number of 36000 bits"),
        (changed("'sep_conv_3x3', 0", "print('x'), 0"), "normal: line 2: not a list of constants"),
        (changed("'sep_conv_3x3', 0", "'sep_conv_3x3'"), "node 0: found 'sep_conv_3x3'; an edge"),
        (
            changed("normal=", "norm="),
            r"line 1: found fields \['norm', .*; allowed: normal, ",
        ),
        (changed("Genotype", "Cell"), r"found no Genotype\(…\); allowed: one"),
        (DARTS_V1 * 2, r"found 2 Genotype\(…\) \(lines 8, 17\); allowed: one"),
        ("normal: [", "neither JSON nor Python .*line 1"),
        ("\x00", "neither JSON nor Python"),
        (nested_too_deeply("-"), "neither JSON nor Python"),
        (nested_too_deeply("1+"), "neither JSON nor Python"),
    ],
)
def test_another_search_space_is_refused_with_the_place(text: str, message: str) -> None:
    with pytest.raises(ArtifactError, match=f"^here: {message}|^here: .*{message}") as caught:
        parse_tuple(text, "here")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"{" + b" " * (1 << 16) + b"}", "larger than the limit of 65,536 bytes"),
        (b"\xff", "not a genotype .*decode"),
        (json.dumps({"normal": []}).encode(), "a genotype has keys normal and reduce"),
        (b"{", "cannot be read"),
    ],
)
def test_a_file_that_is_no_genotype_is_named(content: bytes, message: str, tmp_path: Path) -> None:
    path = tmp_path / "g"
    path.write_bytes(content)
    with pytest.raises(ArtifactError, match=message) as caught:
        find_genotype(str(path))
    assert str(caught.value).startswith(str(path))


def test_a_folder_is_no_genotype(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="not a genotype"):
        find_genotype(str(tmp_path))


def test_the_json_form_refuses_a_source_taken_twice() -> None:
    form: dict[str, Any] = GENOTYPES["darts_v1"].to_dict()
    form["reduce"][1] = [["skip_connect", 2], ["max_pool_3x3", 2]]
    with pytest.raises(ArtifactError, match="reduce: node 1: both edges come from source 2"):
        Genotype.from_dict(form)

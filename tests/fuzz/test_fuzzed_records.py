"""Any genotype or subset is read back as it was written, or named in one line."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mutations import damaged, spoiled

from classification.errors import ArtifactError
from pcdarts.genotype import Genotype
from pcdarts.published_genotypes import GENOTYPES
from subsample.selection import Subset

SUBSET = Subset(
    dataset="digits",
    content_hash="0" * 64,
    measure="cv",
    order="deterministic",
    fraction=0.5,
    seed=0,
    scorer="0" * 16,
    class_histogram={"a": 3, "b": 2},
    indices=(0, 5, 9),
    architecture_indices=(1, 7),
)


def written(record, path):
    record.save(path)
    return json.loads(path.read_text())


def read(kind, path):
    """The record, or None if it is refused as it has to be."""
    try:
        return kind.load(path)
    except ArtifactError as error:
        message = str(error)
    assert message.startswith(f"{path}: ")
    assert "\n" not in message
    assert len(message) < 1000
    return None


@pytest.mark.parametrize("cases", [60, pytest.param(500, marks=pytest.mark.long)])
@pytest.mark.parametrize("record", [GENOTYPES["darts_v2"], SUBSET], ids=["genotype", "subset"])
@pytest.mark.parametrize("way", ["spoiled", "damaged"])
def test_a_record_is_read_back_or_named(folder, record, cases, way):
    path = Path("record.json")
    values = written(record, path)
    text = path.read_text()
    contents = spoiled(values).map(json.dumps) if way == "spoiled" else damaged(text)

    @settings(
        max_examples=cases,
        derandomize=cases < 100,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(contents)
    def holds(content):
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        found = read(type(record), path)
        if found is not None:
            written(found, path)
            assert read(type(record), path) == found

    holds()


@given(st.sampled_from(sorted(GENOTYPES)), st.sets(st.integers(0, 2**31 - 1), min_size=1))
def test_what_was_written_is_read_back(tmp_path_factory, name, indices):
    path = tmp_path_factory.getbasetemp() / "whole.json"
    GENOTYPES[name].save(path)
    assert Genotype.load(path) == GENOTYPES[name]
    subset = replace(
        SUBSET,
        indices=tuple(sorted(indices)),
        architecture_indices=None,
        class_histogram={"a": len(indices)},
    )
    subset.save(path)
    assert Subset.load(path) == subset

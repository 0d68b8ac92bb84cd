import json
from types import SimpleNamespace

import pytest

from classification.errors import ArtifactError
from pipeline.reports.results import describe_network
from pipeline.stages.retrain import SUMMARY


def test_a_network_that_an_older_version_summarised_is_refused_with_what_to_do(tmp_path):
    (tmp_path / SUMMARY).write_text(json.dumps({"parameters": 5, "multiply_adds": 7}))
    with pytest.raises(ArtifactError, match=r"lacks channels, all_multiply_adds.*--force retrain"):
        describe_network({"retrain": SimpleNamespace(path=tmp_path)})

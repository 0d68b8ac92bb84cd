import pytest
import torch

from classification.acceleration import autocast, check_acceleration
from classification.errors import ConfigError

CPU, CUDA = torch.device("cpu"), torch.device("cuda")


@pytest.mark.parametrize(
    ("precision", "cuda_graph", "message"),
    [
        ("bf16", "auto", "search.precision: found 'bf16' on a cpu; allowed there: fp32"),
        ("fp32", "on", "search.cuda_graph: found 'on' on a cpu; allowed there: auto, off"),
    ],
)
def test_what_only_a_cuda_device_can_do_is_refused_elsewhere(precision, cuda_graph, message):
    check_acceleration("search", precision, cuda_graph, CUDA)
    with pytest.raises(ConfigError) as caught:
        check_acceleration("search", precision, cuda_graph, CPU)
    assert str(caught.value) == message


@pytest.mark.parametrize("cuda_graph", ["auto", "off"])
def test_the_defaults_are_allowed_everywhere(cuda_graph):
    assert check_acceleration("search", "fp32", cuda_graph, CPU) is None


def test_bf16_is_the_precision_of_products_alone():
    values = torch.ones(2, 2)
    with autocast("bf16", CPU):
        assert (values @ values).dtype == torch.bfloat16
    with autocast("fp32", CPU):
        assert (values @ values).dtype == torch.float32

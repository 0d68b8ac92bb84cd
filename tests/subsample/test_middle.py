import torch
from torch import nn

from classification.data.transforms import Normalization
from subsample.middle import central_square, logits_of_part

GREY = Normalization((0.5,) * 3, (0.25,) * 3)  # of pixels 0 and 255: -2 and 2, and 0 if hidden


class Looks(nn.Module):
    """Sees only some pixels: class 1 if they are bright on average, 2 if dark, 0 if nothing."""

    def __init__(self, at: torch.Tensor) -> None:
        super().__init__()
        self.at = at

    def features(self, images: torch.Tensor) -> torch.Tensor:
        assert not self.training
        return images[:, 0, self.at].mean(1, keepdim=True)

    def logits(self, features: torch.Tensor) -> torch.Tensor:
        return torch.cat([torch.full_like(features, 0.1), features, -features], 1)


def recognised(looks: Looks, visible: torch.Tensor) -> list[int]:
    """The classes of two images of 4×4 pixels: bright middle in a dark border, and the reverse."""
    bright = 255 * central_square(4, 4).byte()
    images = torch.stack([bright, 255 - bright])[:, None].expand(-1, 3, -1, -1)
    return logits_of_part(looks, images, GREY, visible, 1).argmax(1).tolist()


def test_the_middle_of_an_even_side_by_hand():
    # 4 · √½ = 2.83, so 3 of 4 pixels from the first on: the border is a row and a column.
    expected = [[1, 1, 1, 0]] * 3 + [[0, 0, 0, 0]]
    assert central_square(4, 4).int().tolist() == expected


def test_each_side_is_rounded_and_the_border_is_equal_where_it_can_be():
    # 5 · √½ = 3.54 and 7 · √½ = 4.95: 4 of 5 rows, 5 of 7 columns, one on either side.
    rows, columns = central_square(5, 7).any(1), central_square(5, 7).any(0)
    assert rows.tolist() == [True] * 4 + [False]
    assert columns.tolist() == [False] + [True] * 5 + [False]
    shares = {side: float(central_square(side, side).double().mean()) for side in (8, 16, 32, 33)}
    assert shares == {8: 36 / 64, 16: 121 / 256, 32: 529 / 1024, 33: 529 / 1089}


def test_who_looks_at_the_middle_recognises_by_the_middle_alone():
    middle = central_square(4, 4)
    looks = Looks(middle)
    assert recognised(looks, middle) == [1, 2]
    assert recognised(looks, ~middle) == [0, 0]
    assert recognised(looks, middle | True) == [1, 2]


def test_who_looks_at_the_border_recognises_by_the_border_alone():
    middle = central_square(4, 4)
    looks = Looks(~middle)
    assert recognised(looks, middle) == [0, 0]
    assert recognised(looks, ~middle) == [2, 1]


def test_hidden_pixels_have_the_mean_colour():
    # Of all 16 pixels 9 are at 2 and 7 at -2: the visible 9 alone are 18 / 16 on average.
    everywhere = Looks(torch.ones(4, 4, dtype=torch.bool))
    bright = 255 * central_square(4, 4).byte()[None, None].expand(1, 3, -1, -1)
    logits = logits_of_part(everywhere, bright, GREY, central_square(4, 4))
    torch.testing.assert_close(logits, torch.tensor([[0.1, 18 / 16, -18 / 16]]))

"""torchvision's ResNet-50, for large images, which loads torchvision's weights.

He et al. 2016, "Deep Residual Learning", Table 1, with the stride of a bottleneck at its 3×3
convolution, as in torchvision. Importing torchvision is slow, so this module is imported only to
build the network.
"""

from torch import Tensor, nn
from torchvision.models import resnet

from classification.models.network import StagedClassifier


class ResNet50(StagedClassifier, resnet.ResNet):
    """Stages of 3, 4, 6 and 3 bottlenecks; 25,557,032 parameters at a thousand classes."""

    conv1: nn.Conv2d
    bn1: nn.BatchNorm2d
    relu: nn.ReLU
    maxpool: nn.MaxPool2d

    def __init__(self, num_classes: int) -> None:
        super().__init__(resnet.Bottleneck, [3, 4, 6, 3], num_classes=num_classes)

    def stem(self, images: Tensor) -> Tensor:
        """[N, 3, H, W] to [N, 64, H / 4, W / 4], rounded up."""
        return self.maxpool(self.relu(self.bn1(self.conv1(images))))

    @property
    def residual_ends(self) -> list[nn.Module]:
        return [part.bn3 for part in self.modules() if isinstance(part, resnet.Bottleneck)]

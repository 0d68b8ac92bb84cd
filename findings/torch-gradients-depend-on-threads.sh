#!/bin/sh
# torch 2.12.1 on a CPU: one and two threads give other gradients for the same input.
#
# Behaviour: a convolution's output has the same bits; the gradient of its weights, and a sum over
# a tensor, do not, as the parts are added in another order.
# torch.use_deterministic_algorithms(True) changes nothing.
# Seen: output equal, gradient and sum different, relative difference below 1e-5.
# Who meets it: whoever compares runs of one seed on machines with other numbers of cores: two
# searches part after the first step.
# Here: equal bytes are promised for one number of threads, and the ledger and reports name it.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --no-compile \
    torch==2.12.1 numpy==2.4.6
cd "$folder"
venv/bin/python - <<'END'
import torch

torch.use_deterministic_algorithms(True)
generator = torch.Generator().manual_seed(0)
images = torch.randn(64, 16, 32, 32, generator=generator)
weight = torch.randn(16, 16, 3, 3, generator=generator).requires_grad_()
results = []
for threads in (1, 2):
    torch.set_num_threads(threads)
    output = torch.conv2d(images, weight, padding=1)
    (gradient,) = torch.autograd.grad(output.square().sum(), weight)
    results.append((output.detach(), gradient, images.sum()))
equal = [torch.equal(a, b) for a, b in zip(*results)]
one, two = (result[1] for result in results)
print(equal, ((one - two).abs().max() / one.abs().max()).item())
assert equal == [True, False, False], "what depends on the threads changed"
assert torch.allclose(one, two, rtol=1e-4, atol=1e-5 * one.abs().max().item())
END

#!/bin/sh
# torch 2.12.1 on a CPU: randn of fewer than 16 elements is another sequence than randn of 16.
#
# Behaviour: the same seed gives other numbers for 15 elements than for the first 15 of 16, and,
# from 16 on, other numbers where the length is no multiple of 16. Drawing 8 and 8 differs from
# drawing 16; drawing 16 and 16 equals drawing 32. rand and bernoulli_ have no such rule.
# Seen: as stated.
# Who meets it: whoever expects one more operation or edge to leave the other initial values of
# alpha or beta as they were, or a batch drawn in two parts to equal one drawn at once.
# Here: results are promised for equal settings only, and the random numbers that are drawn in
# blocks (scores, mixing) are drawn for whole batches.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --no-compile \
    torch==2.12.1 numpy==2.4.6
cd "$folder"
venv/bin/python - <<'END'
import torch


def draw(function, *lengths):
    generator = torch.Generator().manual_seed(0)
    return torch.cat([function(n, generator=generator) for n in lengths])


normal, uniform = torch.randn, torch.rand
seen = {
    "randn 15 = start of 16": torch.equal(draw(normal, 15), draw(normal, 16)[:15]),
    "randn 16 = start of 24": torch.equal(draw(normal, 16), draw(normal, 24)[:16]),
    "randn 8 + 8 = 16": torch.equal(draw(normal, 8, 8), draw(normal, 16)),
    "randn 16 + 16 = 32": torch.equal(draw(normal, 16, 16), draw(normal, 32)),
    "rand 15 = start of 16": torch.equal(draw(uniform, 15), draw(uniform, 16)[:15]),
    "rand 8 + 8 = 16": torch.equal(draw(uniform, 8, 8), draw(uniform, 16)),
}
print(seen)
assert list(seen.values()) == [False, False, False, True, True, True], "the sequences changed"
END

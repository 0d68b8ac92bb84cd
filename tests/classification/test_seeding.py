import torch

from classification.seeding import make_generator, reseed, seeded
from classification.seeds import derive_seed


def test_seeds_are_the_same_on_every_machine():
    # First eight bytes of SHA-256("0/order/3"), halved; from `printf 0/order/3 | sha256sum`.
    assert derive_seed(0, "order", 3) == int("4b9958534e8d938f", 16) >> 1


def test_streams_and_indices_give_different_seeds():
    seeds = {derive_seed(s, p, i) for s in (0, 1) for p in ("a", "b") for i in (0, 1, 10)}
    assert len(seeds) == 12
    assert derive_seed(1, "a", 23) != derive_seed(1, "a", 2, 3)


def test_generators_repeat():
    draws = [torch.rand(4, generator=make_generator(0, "x", 1)) for _ in range(2)]
    assert torch.equal(*draws)


def test_seeded_leaves_the_global_generator_as_it_was():
    before = torch.get_rng_state()
    with seeded(0, "weights"):
        first = torch.rand(3)
    with seeded(0, "weights"):
        assert torch.equal(first, torch.rand(3))
    assert torch.equal(before, torch.get_rng_state())


def test_a_generator_seeded_anew_draws_what_a_new_one_draws():
    generator = torch.Generator()
    torch.rand(3, generator=generator)
    reseed(generator, 0, "x", 1)
    assert torch.equal(
        torch.rand(4, generator=generator), torch.rand(4, generator=make_generator(0, "x", 1))
    )

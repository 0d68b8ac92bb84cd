"""The Hessian of the loss: its largest eigenvalues, their eigenvectors, its trace.

The Hessian of P weights is never formed. Products with vectors (Pearlmutter 1994) are taken batch
by batch by curvlinops; the eigenvalues are ARPACK's (implicitly restarted Lanczos), the trace is
Hutchinson's. Of a network of the weights that `EmpiricalRisk` names: all that a gradient reaches,
biases and BatchNorm's scales and shifts included, BatchNorm in eval mode.
"""

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from classification.errors import PipelineError
from classification.seeding import derive_seed, seeded
from classification.training.trainer import evaluating
from evaluate.landscape.empirical_risk import EmpiricalRisk

# Relative error of an eigenvalue. A product in float32 is no better than about 1e-6, and asked for
# more than that ARPACK would go on for ever.
_TOLERANCE = {torch.float32: 1e-4, torch.float64: 1e-10}
_MAX_RESTARTS = 100


@dataclass(frozen=True)
class Spectrum:
    """The largest eigenvalues, float64 [k], falling, and their unit eigenvectors [k, P]."""

    eigenvalues: Tensor
    eigenvectors: Tensor


class Hessian:
    """Of a risk's mean loss, over its weights in their order."""

    def __init__(self, risk: EmpiricalRisk) -> None:
        """Needs the extra `landscape`."""
        with _known_warnings():
            from curvlinops import (  # type: ignore[import-untyped]
                HessianLinearOperator,
                hutchinson_trace,
            )

        self._risk, self._hutchinson_trace = risk, hutchinson_trace
        self._operator = HessianLinearOperator(
            risk.module,
            risk.objective,
            list(risk.parameters.values()),
            risk.batches,
            check_deterministic=False,  # in eval mode it is, and the check takes passes of its own
            num_data=risk.num_images,
        )

    @property
    def size(self) -> int:
        """How many weights there are, P."""
        return int(self._operator.shape[0])

    def top(self, number: int, seed: int, told: Callable[[int], None]) -> Spectrum:
        """The `number` algebraically largest eigenvalues: the directions of steepest growth.

        `told` hears how many products, each two passes and more over the images, were taken. The
        solver begins at a vector drawn from `seed`; it holds some 2 · number, at least 20, vectors
        of P values in float64. Raises ValueError unless 0 < number < P, and PipelineError if it
        does not come to an end.
        """
        from scipy.sparse.linalg import ArpackNoConvergence, LinearOperator, eigsh

        if not 0 < number < self.size:
            raise ValueError(f"found {number} eigenvalues; allowed: 1 to {self.size - 1}")
        exported, products = self._operator.to_scipy(np.float64), 0

        def product(vector: np.ndarray) -> np.ndarray:
            nonlocal products
            with self._evaluating():
                result: np.ndarray = exported.matvec(vector)
            products += 1
            told(products)
            return result

        dtype = next(iter(self._risk.parameters.values())).dtype
        generator = np.random.default_rng(derive_seed(seed, "landscape-eigenvalues"))
        try:
            values, vectors = eigsh(
                LinearOperator(exported.shape, matvec=product, dtype=np.float64),
                number,
                which="LA",
                v0=generator.standard_normal(self.size),
                tol=_TOLERANCE[dtype],
                maxiter=_MAX_RESTARTS,
            )
        except ArpackNoConvergence as error:
            raise PipelineError(
                f"landscape.eigenvalues: {number} were not found after {products} products with "
                "the Hessian; allowed: fewer, or more images"
            ) from error
        order = np.argsort(-values, kind="stable")
        return Spectrum(
            torch.from_numpy(values[order].copy()),
            torch.from_numpy(np.ascontiguousarray(vectors.T[order])).to(dtype),
        )

    def trace(self, seed: int, draw: int) -> float:
        """One unbiased draw of the trace: vᵀHv of a vector of random signs (Hutchinson 1989)."""
        with (
            self._evaluating(),
            seeded(seed, "landscape-trace", draw, device=self._operator.device),
        ):
            return float(self._hutchinson_trace(self._operator, 1))

    @contextmanager
    def _evaluating(self) -> Iterator[None]:
        with evaluating(self._risk.module), _known_warnings():
            yield


@contextmanager
def _known_warnings() -> Iterator[None]:
    """What curvlinops, and torch within it, say of themselves on every use."""
    known: tuple[tuple[str, Any], ...] = (
        ("`torch.jit.script` is deprecated", DeprecationWarning),
        ("There is a performance drop because we have not yet implemented", UserWarning),
    )
    with warnings.catch_warnings():
        for message, category in known:
            warnings.filterwarnings("ignore", message, category)
        yield

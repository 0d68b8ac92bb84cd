"""The Hessian of the loss: its largest eigenvalues, their eigenvectors, its trace.

The Hessian of P weights is never formed. curvlinops computes products with vectors (Pearlmutter
1994) batch by batch, ARPACK the eigenvalues (implicitly restarted Lanczos), and Hutchinson's
estimator the trace. The weights are those of `EmpiricalRisk`: all with a gradient, including biases
and BatchNorm's scales and shifts, with BatchNorm in eval mode.
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
from classification.seeding import seeded
from classification.seeds import derive_seed
from classification.training.trainer import evaluating
from evaluate.landscape.empirical_risk import EmpiricalRisk

# Relative error of an eigenvalue. A product in float32 is accurate to about 1e-6; with a smaller
# tolerance ARPACK would never converge.
_TOLERANCE = {torch.float32: 1e-4, torch.float64: 1e-10}
_MAX_RESTARTS = 100


@dataclass(frozen=True)
class Spectrum:
    """The largest eigenvalues, float64 [k], descending, and their unit eigenvectors [k, P]."""

    eigenvalues: Tensor
    eigenvectors: Tensor


class Hessian:
    """The Hessian of a risk's mean loss, over its weights in their order."""

    def __init__(self, risk: EmpiricalRisk) -> None:
        """Require the extra `landscape`."""
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
            check_deterministic=False,  # eval mode is deterministic, and the check costs passes
            num_data=risk.num_images,
        )

    @property
    def size(self) -> int:
        """Number of weights, P."""
        return int(self._operator.shape[0])

    def top(self, number: int, seed: int, told: Callable[[int], None]) -> Spectrum:
        """Compute the `number` algebraically largest eigenvalues and their eigenvectors.

        `told` is called with the number of products so far; each takes two or more passes over the
        images. The solver starts at a vector drawn from `seed` and keeps about 2 · number, at least
        20, float64 vectors of P values. Raises ValueError unless 0 < number < P, and PipelineError
        if it does not converge.
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
                f"landscape.eigenvalues: {number} did not converge after {products} products with "
                "the Hessian; allowed: fewer, or more images"
            ) from error
        order = np.argsort(-values, kind="stable")
        return Spectrum(
            torch.from_numpy(values[order].copy()),
            torch.from_numpy(np.ascontiguousarray(vectors.T[order])).to(dtype),
        )

    def trace(self, seed: int, draw: int) -> float:
        """Return one unbiased estimate of the trace: vᵀHv for random signs v (Hutchinson 1989)."""
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
    """Ignore the warnings that curvlinops, and torch within it, give on every use."""
    known: tuple[tuple[str, Any], ...] = (
        ("`torch.jit.script` is deprecated", DeprecationWarning),  # torch 2.12
        ("`torch.jit.script` is deprecated", FutureWarning),  # torch 2.14
        ("There is a performance drop because we have not yet implemented", UserWarning),
    )
    with warnings.catch_warnings():
        for message, category in known:
            warnings.filterwarnings("ignore", message, category)
        yield

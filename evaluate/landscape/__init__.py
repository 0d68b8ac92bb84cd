"""Loss landscapes around a classifier's weights: line, plane, noise, Hessian."""

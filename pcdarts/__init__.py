"""PC-DARTS (Xu et al. 2020): supernet, architect, genotype and the network built from it."""

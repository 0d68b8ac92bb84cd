"""PC-DARTS (Xu et al. 2020): supernet, architect, genotype, and networks built from genotypes."""

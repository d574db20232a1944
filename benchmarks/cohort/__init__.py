"""Parts of `benchmarks/cluster.py`: the cohort and its outputs, a Ray cluster, and a Slurm cluster on one machine."""

"""A trained model at work: the walk over a volume, the model folder, and the verb `segment` over many scans."""

"""TransUNet's preprocessed BTCV: slices as .npz, volumes as HDF5, no spacing."""

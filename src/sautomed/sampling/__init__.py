"""From volumes to what a network sees: intensities, slice size, prepared cases, runs of slices, augmentation."""

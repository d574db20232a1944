"""Is a data set sound? Facts of each case, checks over one and over all, mended copies. The verb is `doctor`."""

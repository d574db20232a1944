"""The process that decodes images of uncertain quality."""

import os

import pytest

from sautomed.scans.dicom.isolated import IsolatedDecoder


@pytest.mark.skipif(os.name != "posix", reason="this system has no groups of processes")
def test_a_signal_to_our_group_does_not_end_the_decoder():
    """Slurm signals the whole group; a decoder that ends before us would look like a damaged image."""
    with IsolatedDecoder() as decoder:
        worker, _, _ = decoder._started()
        assert os.getpgid(worker.pid) != os.getpgrp()

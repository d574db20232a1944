"""The parts of `fuzz_io.py`: valid files, how they are changed, who reads them, and the process that does it."""

"""Parts of `fuzz_io.py`: valid files, random changes, readers, and the reading process."""

"""The doctor: check every case of a dataset and all of them together, and write corrected copies.

`read_case` reads a case into `facts`; `case_checks` (with `anatomy`) and `dataset_checks` turn facts into findings;
`examine` collects them in a `diagnosis`; `mending` and `write_case` write the corrected copies.
"""

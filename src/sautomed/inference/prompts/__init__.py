"""FILE.prompts.json: what prompted each organ of each slice, and what a person gave (docs/prompts.md).

document.py          the document, checked; prompts.schema.json is its JSON schema
file.py              read and write it
runs.py              run-length code of masks
collect.py           the document of a scan that is segmented
check.py             refuse to replay it with another scan or model
"""

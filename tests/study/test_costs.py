import os

from sautomed.study.costs import describe_machine, processor_name

CPUINFO = """processor\t: 0
vendor_id\t: GenuineIntel
model\t\t: 106
model name\t: Intel(R) Xeon(R) Processor @ 2.80GHz

processor\t: 1
model name\t: Intel(R) Xeon(R) Processor @ 2.80GHz
"""


def test_the_processor_is_named_as_linux_knows_it(tmp_path):
    (tmp_path / "cpuinfo").write_text(CPUINFO)
    assert processor_name(tmp_path / "cpuinfo") == "Intel(R) Xeon(R) Processor @ 2.80GHz"


def test_where_linux_does_not_name_it_python_does(tmp_path):
    (tmp_path / "cpuinfo").write_text("processor\t: 0\nmodel name\t: \nFeatures\t: fp asimd\n")
    elsewhere = processor_name(tmp_path / "none")
    assert elsewhere
    assert processor_name(tmp_path / "cpuinfo") == elsewhere


def test_the_machine_is_described_by_processor_cores_and_graphics():
    processor, *others = describe_machine().removeprefix(processor_name()).split(", ")
    assert processor == ""
    assert others[0].split()[0] == str(os.cpu_count())
    assert others[1].endswith("used")
    assert others[-1]

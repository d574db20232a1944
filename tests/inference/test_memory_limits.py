"""Limits of containers and jobs: the smallest counts, and files that are only cached do not count as used."""

import pytest

from sautomed.inference.memory_limits import room_in_groups

CACHE_V2 = "anon 1\nactive_file {}\ninactive_file {}\nfile_mapped {}\n"
CACHE_V1 = "total_rss 1\ntotal_active_file {}\ntotal_inactive_file {}\ntotal_mapped_file {}\n"


def v2(folder, limit, used, cache=(0, 0, 0)):
    write(folder, {"memory.max": limit, "memory.current": used, "memory.stat": CACHE_V2.format(*cache)})


def v1(folder, limit, used, cache=(0, 0, 0)):
    names = ("memory.limit_in_bytes", "memory.usage_in_bytes", "memory.stat")
    write(folder, dict(zip(names, (limit, used, CACHE_V1.format(*cache)), strict=True)))


def write(folder, contents):
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in contents.items():
        (folder / name).write_text(f"{content}".rstrip() + "\n")


def room(tmp_path, groups):
    (tmp_path / "groups").write_text(groups)
    return room_in_groups(tmp_path / "mounts", tmp_path / "groups")


def test_a_container_sees_its_own_group_at_the_top(tmp_path):
    v2(tmp_path / "mounts", 8000, 3000)
    assert room(tmp_path, "0::/\n") == 5000


@pytest.mark.parametrize(("own", "above", "expected"), [(1000, "max", 900), ("max", 2000, 500), (1000, 1600, 100)])
def test_of_a_group_and_those_above_it_the_least_room_counts(tmp_path, own, above, expected):
    job = tmp_path / "mounts" / "system.slice" / "slurmstepd.scope" / "job_7"
    v2(job / "step_0", own, 100)
    v2(job, above, 1500)
    assert room(tmp_path, "0::/system.slice/slurmstepd.scope/job_7/step_0\n") == expected


@pytest.mark.parametrize("v", [1, 2])
def test_cached_files_are_room_unless_they_are_mapped(tmp_path, v):
    if v == 2:
        v2(tmp_path / "mounts", 8000, 7900, (2000, 5000, 300))
        assert room(tmp_path, "0::/\n") == 100 + 6700
    else:
        v1(tmp_path / "mounts" / "memory" / "job", 8000, 7900, (2000, 5000, 300))
        assert room(tmp_path, "4:cpuset,memory:/job\n0::/\n") == 100 + 6700


def test_a_group_that_is_mounted_at_the_top_of_a_container_is_found_there(tmp_path):
    v1(tmp_path / "mounts" / "memory", 500, 200)
    assert room(tmp_path, "4:memory:/docker/abc\n") == 300


@pytest.mark.parametrize("groups", ["", "3:cpu:/job\n", "0::/nowhere\n", "nonsense\n"])
def test_without_a_limit_there_is_none(tmp_path, groups):
    v2(tmp_path / "mounts", "max", 100)
    assert room(tmp_path, groups) is None


def test_without_control_groups_there_is_no_limit(tmp_path):
    assert room_in_groups(tmp_path, tmp_path / "no such file") is None


def test_a_group_that_does_not_tell_what_is_cached_still_limits(tmp_path):
    v2(tmp_path / "mounts", 8000, 3000)
    (tmp_path / "mounts" / "memory.stat").unlink()
    assert room(tmp_path, "0::/\n") == 5000

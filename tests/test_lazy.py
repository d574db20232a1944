"""Names that a package imports with their first use."""

import sys
from types import ModuleType

import pytest

import sautomed
import sautomed.inference.batch
import sautomed.inference.engine
import sautomed.model
import sautomed.scans
from sautomed.lazy import lazy_names


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A package with one module, of which nothing is imported yet, and its lazy names."""
    (tmp_path / "lazy_package").mkdir()
    (tmp_path / "lazy_package" / "__init__.py").touch()
    (tmp_path / "lazy_package" / "part.py").write_text("value = 7")
    monkeypatch.syspath_prepend(tmp_path)
    yield lazy_names("lazy_package", {"value": "part"})
    for name in [name for name in sys.modules if name.startswith("lazy_package")]:
        del sys.modules[name]


def test_a_name_is_imported_when_it_is_asked_for(package):
    assert "lazy_package.part" not in sys.modules
    assert package("value") == 7
    assert isinstance(sys.modules["lazy_package.part"], ModuleType)


def test_other_names_are_missing_as_from_any_module(package):
    with pytest.raises(AttributeError, match="module 'lazy_package' has no attribute 'other'"):
        package("other")
    assert not hasattr(sautomed, "other")


@pytest.mark.parametrize(
    "package", [sautomed, sautomed.scans, sautomed.model, sautomed.inference.engine, sautomed.inference.batch]
)
def test_every_public_name_is_there(package):
    assert all(getattr(package, name) is not None for name in package.__all__)

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom.sr.codedict import codes

from sautomed.phantom import KINDS
from sautomed.scans.dicom.derived.codes import PRIVATE_SCHEME, code_item, colour_rgb, label_text, organ_code
from sautomed.scans.palette import colour_of


@pytest.mark.parametrize(
    ("name", "kind", "modifier"),
    [
        ("right_kidney", codes.SCT.Kidney, codes.SCT.Right),
        ("Right Kidney", codes.SCT.Kidney, codes.SCT.Right),
        ("kidney_left", codes.SCT.Kidney, codes.SCT.Left),
        ("kidneys", codes.SCT.Kidney, codes.SCT.Bilateral),
        ("L.Kid", codes.SCT.Kidney, codes.SCT.Left),
        ("spleen", codes.SCT.Spleen, None),
        ("LIVER", codes.SCT.Liver, None),
        ("gallbladder", codes.SCT.Gallbladder, None),
        ("esophagus", codes.SCT.Esophagus, None),
        ("Oesophagus", codes.SCT.Esophagus, None),
        ("stomach", codes.SCT.Stomach, None),
        ("aorta", codes.SCT.Aorta, None),
        ("inferior vena cava", codes.SCT.InferiorVenaCava, None),
        ("postcava", codes.SCT.InferiorVenaCava, None),
        ("IVC", codes.SCT.InferiorVenaCava, None),
        ("pancreas", codes.SCT.Pancreas, None),
        ("right adrenal gland", codes.SCT.AdrenalGland, codes.SCT.Right),
        ("adrenal_gland_left", codes.SCT.AdrenalGland, codes.SCT.Left),
        ("heart", codes.SCT.Heart, None),
        ("trachea", codes.SCT.Trachea, None),
        ("lungs", codes.SCT.Lung, codes.SCT.Bilateral),
        ("hippocampus anterior", codes.SCT.Hippocampus, codes.SCT.Anterior),
        ("Posterior hippocampus", codes.SCT.Hippocampus, codes.SCT.Posterior),
        ("heart_ventricle_left", codes.SCT.LeftVentricle, None),
        ("vertebrae_L3", codes.SCT.L3Vertebra, None),
    ],
)
def test_an_organ_has_dicoms_code_however_it_is_spelled(name, kind, modifier):
    found = organ_code(name)
    assert found.is_known
    assert found.category == codes.SCT.AnatomicalStructure
    assert found.kind == kind
    assert found.modifier == modifier


def test_every_organ_of_the_largest_public_label_set_is_known():
    assert [name for kind in KINDS.values() for name in kind.labels if not organ_code(name).is_known] == []


def test_a_tumour_has_its_own_category():
    assert organ_code("tumour").category == codes.SCT.MorphologicallyAbnormalStructure


def test_equal_unknown_names_share_a_code_and_different_ones_do_not():
    assert organ_code("bright").kind == organ_code("bright").kind
    long_names = [f"a structure that nobody has ever named {number}" for number in range(50)]
    assert len({organ_code(name).kind.value for name in long_names}) == 50


@given(st.text(max_size=90))
def test_any_name_gives_a_well_formed_code_and_label(name):
    found = organ_code(name)
    item = code_item(found.kind)
    assert 1 <= len(item.CodeValue) <= 16
    assert item.CodeValue.isascii()
    assert found.is_known or item.CodingSchemeDesignator == PRIVATE_SCHEME
    for text in (item.CodeMeaning, label_text(name)):
        assert 1 <= len(text) <= 64
        assert "\\" not in text
        assert text.isprintable()


def test_colours_come_from_the_palette():
    assert "#{:02x}{:02x}{:02x}".format(*colour_rgb(3)) == colour_of(3)

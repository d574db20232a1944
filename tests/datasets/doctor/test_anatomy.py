"""Relations between organs, and spellings of their names."""

import pytest

from sautomed.datasets import read_dataset
from sautomed.datasets.doctor.anatomy import BODY, canonical_name, relations_of
from sautomed.datasets.doctor.read_case import read_case
from sautomed.phantom import KINDS, write_phantoms


@pytest.mark.parametrize(
    ("name", "plain"),
    [
        ("right_kidney", "right kidney"),
        ("kidney_right", "right kidney"),
        ("R.Kid", "right kidney"),
        ("Left Kidney", "left kidney"),
        ("kidney (l)", "left kidney"),
        ("Gall", "gallbladder"),
        ("gall bladder", "gallbladder"),
        ("Panc", "pancreas"),
        ("oesophagus", "esophagus"),
        ("IVC", "inferior vena cava"),
        ("left adrenal gland", "left adrenal"),
        ("urinary_bladder", "bladder"),
        ("vertebrae_L1", "spine l1"),
    ],
)
def test_names_are_known_in_many_spellings(name, plain):
    assert canonical_name(name) == plain


def test_twins_are_recognised_by_their_names_alone():
    (relation,) = relations_of({"left_widget": (10, 0, 0), "right_widget": (-10, 0, 0)})
    assert relation.violated
    assert relation.line() == "left_widget lies 20 mm further to the right than right_widget"
    (relation,) = relations_of({"anterior": (0, 5, 0), "posterior": (0, -5, 0)})
    assert not relation.violated


def test_organs_are_compared_with_each_other_and_the_body():
    right_way = {"liver": (60, 0, 0), "spleen": (-80, -20, 0), BODY: (0, 0, 0)}
    assert len(relations_of(right_way)) == 3
    assert not any(relation.violated for relation in relations_of(right_way))
    mirrored = {name: (-x, y, z) for name, (x, y, z) in right_way.items()}
    assert all(relation.violated for relation in relations_of(mirrored))


def test_a_small_distance_is_no_violation():
    assert not any(r.violated for r in relations_of({"liver": (0, 0, 0), "spleen": (9, 0, 0)}))


def test_unknown_names_are_ignored():
    assert relations_of({"tumour": (0, 0, 0), "bright": (1, 2, 3)}) == []


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_phantoms_have_their_organs_in_place(kind, tmp_path):
    write_phantoms(tmp_path / "data", 1, kind, seed=3)
    dataset = read_dataset(tmp_path / "data")
    facts = read_case(dataset, dataset.cases[0]).facts
    places = {dataset.labels[value]: place for value, place in facts.centres_mm.items()} | {BODY: facts.body_mm}
    relations = relations_of(places)
    assert relations
    assert not any(relation.violated for relation in relations)


@pytest.mark.slow
def test_real_patients_have_their_organs_in_place_with_room_to_spare(shared_data):
    dataset = read_dataset(shared_data / "Dataset001_CHAOST2")
    for case in dataset.cases[:3]:
        facts = read_case(dataset, case).facts
        places = {dataset.labels[value]: place for value, place in facts.centres_mm.items()} | {BODY: facts.body_mm}
        assert min(relation.distance_mm for relation in relations_of(places)) > 10

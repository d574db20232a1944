"""Refusals of data sets, followed to the letter: layouts, pairs, label values, folds, and the doctor."""

import json
import os
import re
import shutil

import h5py
import nibabel
import numpy as np
import pytest
from PIL import Image

from sautomed.datasets import read_dataset
from sautomed.datasets.doctor.examine import examine
from sautomed.datasets.folds import make_folds, read_folds

from ..datasets.block_dataset import LABELS, BlockDataset, affine, organs
from ..datasets.miniatures import CHAOS, make_patient, save_pictures, save_series, write_chaos_mr, write_miniature
from .sites import SITES

needs_permissions = pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may do anything")


def load_all(folder, layout="auto"):
    """Read a data set and every case of it, as training does."""
    dataset = read_dataset(folder, layout)
    for case in dataset.cases:
        dataset.load(case)


@pytest.fixture
def train_order(blocks, tmp_path, stop_before_steps):
    """The command that trains on the blocks, up to the first step."""
    small = ("-c", "tiny", "--device", "cpu", "--set", "data.image_size=128")
    return "train", "-d", blocks.folder, "-o", tmp_path / "run", *small


def options_of(text):
    """Split "--map 9=LABEL --map 10=LABEL" as a shell does."""
    return text.split()


# --- where the data set is, and its layout ---


def test_a_misspelt_folder_has_a_neighbour_of_nearly_its_name(refuse, command, blocks):
    path = blocks.folder.with_name("Dataset001_Bloks")
    refusal = refuse("scans/paths.py refuse_missing MissingFile 3", "doctor", path)
    assert command("doctor", path.with_name(refusal.take(r"Did you mean (.+)\?")))[0] == 0


@needs_permissions
def test_a_folder_that_may_not_be_read(refuse, blocks):
    (blocks.folder / "imagesTr").chmod(0)
    refusal = refuse("datasets/layouts.py read_dataset MissingFile", "doctor", blocks.folder)
    refusal.asks("Change its permissions")
    (blocks.folder / "imagesTr").chmod(0o700)
    refusal.works()


def test_a_folder_in_two_layouts_is_read_as_the_one_that_is_named(refuse, blocks):
    write_miniature("segthor", blocks.folder, ["1", "2"])
    refusal = refuse("datasets/layouts.py detect_layout UnknownLayout", "doctor", blocks.folder)
    refusal.works(*refusal.take(r"(--layout) (\S+)\."))


@pytest.mark.parametrize("part", ["imagesTr", ".."])
def test_a_folder_beside_the_data_set_names_it(refuse, command, blocks, part):
    refusal = refuse("datasets/layouts.py detect_layout UnknownLayout 2", "doctor", (blocks.folder / part).resolve())
    refusal.asks("Give the folder that holds these files")
    assert command("doctor", refusal.take(r"Nearest: (.+) is in the layout"))[0] == 0


def test_a_layout_that_is_named_says_what_is_missing(refuse, blocks):
    (blocks.folder / "dataset.json").rename(blocks.folder / "description")
    first = refuse("datasets/layouts.py detect_layout UnknownLayout 2", "doctor", blocks.folder)
    option = first.asks("name its layout with --layout").take("--layout")
    name = first.take(r"Looked for: ([\w-]+):")
    second = refuse("datasets/nnunet_raw.py read_dataset MissingFile", "doctor", blocks.folder, option, name)
    second.asks("Give the folder that holds dataset.json, or write one")
    (blocks.folder / "description").rename(second.error.where)
    second.works()


def test_a_layout_that_is_misspelt(refuse, blocks):
    order = ("doctor", blocks.folder, "--layout")
    refusal = refuse("datasets/layouts.py _known UnknownSetting", *order, "nnunet_raw")
    assert refusal.take(r"Did you mean (.+)\?") == "nnunet-raw"
    for name in ("nnunet-raw", *re.split(", ", refusal.take(r"There are: (.+)\."))[:1]):
        refusal.works("--layout", name)


# --- nnU-Net's layout ---


def test_a_description_is_written_like_the_example(refuse, tmp_path):
    blocks = BlockDataset(tmp_path / "data", labels={"liver": 1})
    for number in range(blocks.count):
        blocks.write_label(number, np.minimum(organs(number), 1))
    (blocks.folder / "dataset.json").write_text("[]")
    refusal = refuse("datasets/description.py bad_description BadDatasetJson", "doctor", blocks.folder)
    example = refusal.take(r"like (\{.*\})\.")
    assert json.loads(example)
    (blocks.folder / "dataset.json").write_text(example)
    refusal.works()


def test_of_several_channels_one_is_kept(refuse, blocks):
    blocks.describe()
    path = blocks.folder / "dataset.json"
    description = json.loads(path.read_text())
    path.write_text(json.dumps(description | {"channel_names": {"0": "CT", "1": "PET"}}))
    for image in sorted((blocks.folder / "imagesTr").iterdir()):
        shutil.copy(image, image.with_name(image.name.replace("_0000", "_0001")))
    refusal = refuse("datasets/description.py channel_name TooManyChannels", "doctor", blocks.folder)
    kept = refusal.take(r"its files as CASE(_\d+)")
    for image in (blocks.folder / "imagesTr").iterdir():
        if kept not in image.name:
            image.unlink()
    path.write_text(json.dumps(description | {refusal.take("channel_names"): {"0": "CT"}}))
    refusal.works()


def test_too_many_labels_are_merged(refuse, blocks):
    blocks.describe(labels={f"organ_{value}": value for value in range(1, 256)})
    refusal = refuse("datasets/description.py refuse_too_many_labels BadDatasetJson", "doctor", blocks.folder)
    refusal.asks("Leave out or merge labels, here and in labelsTr")
    for number in range(blocks.count):
        blocks.write_label(number, np.minimum(organs(number), 2))
    blocks.describe(labels={"first": 1, "others": 2})
    refusal.works()


@pytest.mark.parametrize("cure", ["rename", "take out"])
def test_files_without_a_partner(refuse_call, command, blocks, cure):
    blocks.label(1).rename(blocks.folder / "labelsTr" / "case_1_seg.nii.gz")
    refusal = refuse_call("datasets/nnunet_raw.py read_dataset UnpairedFiles", load_all, blocks.folder)
    image_pattern, label_pattern = refusal.take(r"Name them (CASE\S+) in imagesTr and (CASE\S+) in labelsTr")
    stray = blocks.folder / "labelsTr" / "case_1_seg.nii.gz"
    if cure == "rename":
        stray.rename(stray.with_name(label_pattern.replace("CASE", "case_1")))
    else:
        refusal.asks("or take them out")
        stray.unlink()
        (blocks.folder / "imagesTr" / image_pattern.replace("CASE", "case_1")).unlink()
    refusal.works()
    assert command("doctor", blocks.folder)[0] == 0


def test_a_file_with_another_ending_is_converted(refuse_call, command, blocks, tmp_path):
    command("convert", "-i", blocks.label(1), "-o", blocks.label(1).with_name("case_1.nrrd"), "--labels")
    blocks.label(1).unlink()
    refusal = refuse_call("datasets/nnunet_raw.py read_dataset UnpairedFiles", load_all, blocks.folder)
    name, ending = refusal.take(r"label map (\S+) \(must end in (\S+)\)")
    _, *order = refusal.take(r"`(sautomed convert -i OLD -o NEW)`").split()
    old = blocks.folder / "labelsTr" / name
    places = {"OLD": old, "NEW": old.with_name("case_1" + ending)}
    option = refusal.take(r"for label maps with (--\w+)")
    assert command(*(places.get(word, word) for word in order), option)[0] == 0
    refusal.works()


@pytest.mark.parametrize("cure", ["put", "correct"])
def test_no_scan_has_the_ending_of_the_description(refuse, command, blocks, cure):
    if cure == "put":
        (blocks.folder / "imagesTr").rename(blocks.folder / "elsewhere")
    else:
        path = blocks.folder / "dataset.json"
        path.write_text(path.read_text().replace(".nii.gz", ".nrrd"))
    refusal = refuse("datasets/nnunet_raw.py _find_cases NoCases", "doctor", blocks.folder)
    refusal.asks("Put the scans there, with that ending, or correct file_ending in dataset.json")
    if cure == "put":
        (blocks.folder / "elsewhere").rename(blocks.folder / refusal.take("imagesTr"))
    else:
        path.write_text(path.read_text().replace(".nrrd", ".nii.gz"))
    refusal.works()


@pytest.mark.parametrize("cure", ["add", "take out"])
def test_a_case_without_a_label_map(refuse_call, blocks, cure):
    (blocks.folder / "labelsTr").rename(blocks.folder / "labels")
    refusal = refuse_call("datasets/dataset.py _require_label UnpairedFiles", load_all, blocks.folder)
    assert refusal.take("layout (\\S+) keeps") == "nnunet-raw"
    refusal.asks("docs/datasets.md", "or take the scan out")
    (blocks.folder / "labels").rename(blocks.folder / "labelsTr")
    if cure == "take out":
        blocks.image(1).unlink()
        blocks.label(1).unlink()
    refusal.works()


# --- the Decathlon ---


@pytest.fixture
def msd(tmp_path):
    """A task, and a function that changes its description."""
    write_miniature("msd", tmp_path / "Task01", ["1", "2"])
    path = tmp_path / "Task01" / "dataset.json"

    def change(**changes):
        path.write_text(json.dumps(json.loads(path.read_text()) | changes))

    return path, change


def test_a_task_without_cases_is_downloaded_again(refuse, msd):
    path, change = msd
    good = path.read_text()
    change(training=[])
    refusal = refuse("datasets/msd.py _cases NoCases", "doctor", path.parent).asks("Download the task again")
    path.write_text(good)
    refusal.works()


@pytest.mark.parametrize("cure", ["unpack", "remove"])
def test_a_task_lists_files_that_are_not_there(refuse, msd, cure):
    path, change = msd
    label = path.parent / "labelsTr" / "organ_1.nii.gz"
    content = label.read_bytes()
    label.unlink()
    refusal = refuse("datasets/msd.py _cases UnpairedFiles", "doctor", path.parent)
    refusal.asks("Unpack the task again", "remove their entries")
    if cure == "unpack":
        label.write_bytes(content)
    else:
        name = refusal.take(r"do not exist: (\S+)\.")
        change(training=[pair for pair in json.loads(path.read_text())["training"] if name not in pair["label"]])
    refusal.works()


def test_a_task_lists_a_case_twice(refuse, msd):
    path, change = msd
    pairs = json.loads(path.read_text())["training"]
    change(training=[*pairs, pairs[0]])
    refusal = refuse("datasets/msd.py _cases UnpairedFiles 2", "doctor", path.parent).asks("Remove one of the entries")
    change(training=pairs)
    refusal.works()


def test_a_task_with_several_channels_becomes_one_of_one_channel(refuse, command, msd):
    path, change = msd
    for scan_path in sorted((path.parent / "imagesTr").glob("organ*")):
        image = nibabel.load(scan_path)
        both = np.stack([np.asarray(image.dataobj)] * 2, axis=-1)
        nibabel.save(nibabel.Nifti1Image(both, image.affine), scan_path)
    change(modality={"0": "CT", "1": "PET"})
    refusal = refuse("datasets/msd.py read_dataset channel_name", "doctor", path.parent)
    _, verb, option, _ = refusal.take(r"\((sautomed convert --frame K)\)").split()
    refusal.asks("names that channel alone")
    new = path.parent.with_name("new")
    shutil.copytree(path.parent, new, ignore=shutil.ignore_patterns("organ_*"))
    shutil.copytree(path.parent / "labelsTr", new / "labelsTr", dirs_exist_ok=True)
    for scan_path in sorted((path.parent / "imagesTr").glob("organ*")):
        target = new / "imagesTr" / scan_path.name
        assert command(verb, "-i", scan_path, "-o", target, option, 0)[0] == 0
    (new / "dataset.json").write_text(json.dumps(json.loads(path.read_text()) | {"modality": {"0": "CT"}}))
    assert command("doctor", new)[0] == 0


# --- BTCV, SegTHOR, TransUNet's arrays ---


def test_the_archive_of_btcv_is_unpacked(refuse, tmp_path):
    (tmp_path / "btcv" / "img").mkdir(parents=True)
    (tmp_path / "btcv" / "label").mkdir()
    refusal = refuse("datasets/btcv.py _read NoCases", "doctor", tmp_path / "btcv", "--layout", "btcv")
    refusal.asks("Unpack RawData.zip of the challenge there")
    write_miniature("btcv", refusal.error.where)
    refusal.works()


@pytest.mark.parametrize("cure", ["add", "take out"])
def test_a_scan_of_btcv_without_label_map(refuse_call, tmp_path, cure):
    write_miniature("btcv", tmp_path)
    training = tmp_path / "RawData" / "Training"
    label = training / "label" / "label0001.nii.gz"
    content = label.read_bytes()
    label.unlink()
    refusal = refuse_call("datasets/btcv.py _read UnpairedFiles", load_all, tmp_path)
    refusal.asks("add the missing file", "take the other one out")
    if cure == "add":
        image, name = refusal.take(r"Each (img)NNNN in img needs a (label)NNNN")
        number = refusal.take(rf"image (?:{image})?(\d+)")
        (training / "label" / f"{name}{number}.nii.gz").write_bytes(content)
    else:
        (training / "img" / "img0001.nii.gz").unlink()
    refusal.works()


def test_the_folder_of_segthor_is_unpacked(refuse, tmp_path):
    refusal = refuse("datasets/segthor.py read_dataset NoCases", "doctor", tmp_path, "--layout", "segthor")
    refusal.asks("Unpack the challenge's train folder there")
    write_miniature("segthor", refusal.error.where)
    refusal.works()


@pytest.mark.parametrize("cure", ["put", "take out"])
def test_a_patient_of_segthor_without_label_map(refuse_call, tmp_path, cure):
    write_miniature("segthor", tmp_path, ["1", "2", "3"])
    label = tmp_path / "train" / "Patient_01" / "GT.nii.gz"
    content = label.read_bytes()
    label.unlink()
    refusal = refuse_call("datasets/segthor.py read_dataset UnpairedFiles", load_all, tmp_path)
    name, patient = refusal.take(r"Put (\S+) back"), refusal.take(r"no label map: (\S+)\.")
    if cure == "put":
        (tmp_path / "train" / patient / name).write_bytes(content)
    else:
        refusal.asks("or take the folders out")
        shutil.rmtree(tmp_path / "train" / patient)
    refusal.works()


def test_a_patient_of_segthor_with_another_shape_is_unpacked_again(refuse_call, tmp_path):
    write_miniature("segthor", tmp_path)
    label = tmp_path / "train" / "Patient_01" / "GT.nii.gz"
    content = label.read_bytes()
    nibabel.save(nibabel.Nifti1Image(np.zeros((80, 64, 11), np.uint8), nibabel.load(label).affine), label)
    refusal = refuse_call("datasets/segthor.py _require_same_shape GridMismatch", load_all, tmp_path)
    refusal.asks("Unpack this patient's folder again")
    label.write_bytes(content)
    refusal.works()


@pytest.fixture
def transunet(tmp_path):
    """Case 0005 slice by slice, case 0008 as a volume; and the path of the fourth slice."""
    write_miniature("transunet", tmp_path / "arrays", ["5", "8"])
    return tmp_path / "arrays", tmp_path / "arrays" / "train_npz" / "case0005_slice004.npz"


def no_archive(path):
    path.write_bytes(path.read_bytes()[:2000])


def no_label(path):
    np.savez(path, image=np.zeros((64, 80)))


def small_slice(path):
    np.savez(path, image=np.zeros((3, 3)), label=np.zeros((3, 3)))


def objects(path):
    np.savez(path, image=np.array([{}], dtype=object), label=np.zeros((64, 80)))


def too_large(path):
    np.savez_compressed(path, image=np.zeros(9, np.uint8), label=np.zeros((64, 80)))


ARRAYS = [
    ("datasets/transunet/arrays.py read_array NotAScan", no_archive, "Copy or download it again"),
    ("datasets/transunet/arrays.py _require_key NotAScan", no_label, "needs an image and a label"),
    ("datasets/transunet/arrays.py _as_truncated_file TruncatedFile", objects, "Copy or download it again"),
    ("datasets/transunet/layout.py _read GridMismatch", small_slice, "Unpack this case again"),
    ("datasets/transunet/layout.py _require_no_gap UnpairedFiles", os.unlink, "Unpack this case again"),
]


@pytest.mark.parametrize(("key", "spoil", "words"), ARRAYS)
def test_slices_are_taken_again(refuse_call, transunet, key, spoil, words):
    folder, path = transunet
    content = path.read_bytes()
    spoil(path)
    refusal = refuse_call(key, load_all, folder).asks(words)
    path.write_bytes(content)
    refusal.works()


def test_a_case_with_gaps_is_taken_out(refuse_call, transunet):
    folder, path = transunet
    path.unlink()
    refusal = refuse_call("datasets/transunet/layout.py _require_no_gap UnpairedFiles", load_all, folder)
    case = refusal.asks("take its other slices out").take(r"slices of (\w+):")
    for other in path.parent.glob(f"{case}_*"):
        other.unlink()
    refusal.works()


def test_an_array_that_is_too_large_is_taken_again(refuse_call, transunet, monkeypatch):
    folder, path = transunet
    content = path.read_bytes()
    np.savez(path, image=np.zeros((64, 800)), label=np.zeros((64, 800)))
    monkeypatch.setattr("sautomed.datasets.transunet.arrays.LIMIT_BYTES", 300_000)
    refusal = refuse_call("datasets/transunet/arrays.py _require_small NotAScan", load_all, folder)
    refusal.asks("Copy or download it again")
    path.write_bytes(content)
    monkeypatch.undo()
    refusal.works()


def test_a_volume_without_slices_is_taken_again(refuse_call, transunet):
    folder, _ = transunet
    path = folder / "test_vol_h5" / "case0008.npy.h5"
    content = path.read_bytes()
    with h5py.File(path, "w") as file:
        file["image"], file["label"] = np.zeros((64, 80)), np.zeros((64, 80))
    case = read_dataset(folder).cases[1]
    refusal = refuse_call("datasets/transunet/layout.py _geometry NotThreeD", read_dataset(folder).geometry, case)
    refusal.asks("Unpack this case again")
    path.write_bytes(content)
    refusal.works()


def test_a_case_in_both_parts_is_taken_out_of_one(refuse_call, transunet):
    folder, _ = transunet
    double = folder / "test_vol_h5" / "case0005.npy.h5"
    double.write_bytes((folder / "test_vol_h5" / "case0008.npy.h5").read_bytes())
    refusal = refuse_call("datasets/transunet/layout.py read UnpairedFiles", load_all, folder)
    refusal.asks("Take one of them out")
    double.unlink()
    refusal.works()


def test_the_arrays_are_unpacked(refuse, tmp_path):
    refusal = refuse("datasets/transunet/layout.py read NoCases", "doctor", tmp_path, "--layout", "transunet")
    refusal.asks("Unpack the preprocessed data there")
    write_miniature("transunet", refusal.error.where)
    refusal.works()


def test_labels_in_the_other_order_are_read_by_the_other_layout(refuse_call, tmp_path):
    write_miniature("transunet-samed", tmp_path)
    refusal = refuse_call(
        "datasets/transunet/abdomen_check.py check_labels UnknownLabels", load_all, tmp_path, "transunet"
    )
    refusal.works(tmp_path, refusal.take(r"--layout (\S+)\."))


# --- CHAOS ---


@pytest.fixture
def chaos(tmp_path):
    """The folder of patients, and that of one patient's pictures."""
    write_miniature("chaos-t2spir", tmp_path / "CHAOS", ["1", "2"])
    root = tmp_path / "CHAOS" / "Train_Sets" / "MR"
    return root, root / "1" / "T2SPIR" / "Ground"


def rewrite(folder, change):
    """Write all pictures of a folder anew."""
    paths = sorted(folder.glob("*.png"))
    for path, picture in zip(paths, change([np.asarray(Image.open(path)) for path in paths]), strict=True):
        Image.fromarray(np.ascontiguousarray(picture)).save(path)


def with_odd_gray(pictures):
    return [np.where(picture == 63, 90, picture).astype(np.uint8) for picture in pictures]


def narrower(pictures):
    return [picture[:, :70] for picture in pictures]


def flipped(pictures):
    return [picture[::-1] for picture in pictures]


def shuffled(pictures):
    return [pictures[index] for index in np.random.default_rng(3).permutation(len(pictures))]


PICTURES = [
    ("datasets/chaos/pictures.py read_label_pictures UnknownLabels", with_odd_gray, "from the challenge's archive"),
    ("datasets/chaos/pictures.py _read_gray GridMismatch", narrower, "in the challenge's archive"),
    ("datasets/chaos/picture_order.py verify PictureOrder", flipped, "from the challenge's archive again"),
    ("datasets/chaos/picture_order.py _refuse_shuffled PictureOrder", shuffled, "from the challenge's archive again"),
]


@pytest.mark.parametrize(("key", "change", "words"), PICTURES)
def test_pictures_are_taken_from_the_archive_again(refuse_call, chaos, tmp_path, key, change, words):
    root, ground = chaos
    archive = shutil.copytree(ground, tmp_path / "archive")
    rewrite(ground, change)
    refusal = refuse_call(key, load_all, root).asks(words)
    shutil.copytree(archive, ground, dirs_exist_ok=True)
    refusal.works()


def test_a_damaged_picture_is_copied_again(refuse_call, chaos):
    root, ground = chaos
    path = next(ground.iterdir())
    content = path.read_bytes()
    path.write_text("no picture")
    refusal = refuse_call("datasets/chaos/pictures.py _as_truncated_file TruncatedFile", load_all, root)
    refusal.asks("Copy or download it again")
    path.write_bytes(content)
    refusal.works()


def test_a_coloured_picture_is_saved_in_gray(refuse_call, chaos):
    root, ground = chaos
    path = next(ground.iterdir())
    gray = Image.open(path).copy()
    Image.merge("RGB", [gray, gray, Image.new("L", gray.size, 1)]).save(path)
    refusal = refuse_call("datasets/chaos/pictures.py _read_gray UnsupportedVoxels", load_all, root)
    bits = int(refusal.take(r"with (\d+) bits of gray"))
    gray.convert({8: "L"}[bits]).save(path)
    refusal.works()


@pytest.mark.parametrize("cure", ["put", "take out"])
def test_a_picture_is_missing(refuse_call, chaos, cure):
    root, ground = chaos
    path = next(ground.iterdir())
    content = path.read_bytes()
    path.unlink()
    refusal = refuse_call("datasets/chaos/picture_order.py propose PictureOrder", load_all, root)
    refusal.asks("Put the missing files back, or take the patient out")
    path.write_bytes(content) if cure == "put" else shutil.rmtree(root / "1")
    refusal.works()


@pytest.mark.parametrize("cure", ["put", "take out"])
def test_a_patient_without_pictures(refuse_call, chaos, tmp_path, cure):
    root, ground = chaos
    ground.rename(tmp_path / "Ground")
    refusal = refuse_call("datasets/chaos/layout.py _require_paired UnpairedFiles", load_all, root)
    patient = refusal.take(r"in Ground: (\d+)\.")
    refusal.asks("Put their PNG files back, or take the patients out")
    (tmp_path / "Ground").rename(ground) if cure == "put" else shutil.rmtree(root / patient)
    refusal.works()


@pytest.mark.parametrize("cure", ["put", "layout"])
@pytest.mark.parametrize("start", ["empty", "without T1"])
def test_no_patient_has_the_sequence(refuse, tmp_path, start, cure):
    write_miniature("chaos-t2spir", tmp_path / "archive", ["1", "2"])
    folder = tmp_path / "data"
    if start == "empty":
        folder.mkdir()
    else:
        shutil.copytree(tmp_path / "archive", folder, ignore=shutil.ignore_patterns("T1DUAL"))
    if (start, cure) == ("empty", "layout"):
        pytest.skip("an empty folder is in no layout")
    order = ("doctor", folder, "--layout", "chaos-t1in")
    refusal = refuse("datasets/chaos/layout.py _require_cases NoCases", *order)
    refusal.asks("Put the patients' folders of the challenge's Train_Sets there")
    if cure == "put":
        shutil.copytree(tmp_path / "archive" / "Train_Sets" / "MR", refusal.error.where, dirs_exist_ok=True)
        refusal.works()
    else:
        refusal.works(refusal.take("another layout of CHAOS with (--layout)"), "chaos-t2spir")


def test_phases_that_cannot_be_told_apart_get_folders(refuse_call, tmp_path):
    patient = make_patient(CHAOS, 0)
    write_chaos_mr(tmp_path, {"7": patient})
    anon = tmp_path / "Train_Sets" / "MR" / "7" / "T1DUAL" / "DICOM_anon"
    shutil.rmtree(anon)
    save_series(anon, patient.mr("t1in"))
    refusal = refuse_call("datasets/chaos/reader.py _series_of_phase SeveralSeries", load_all, tmp_path, "chaos-t1in")
    inside, _ = refusal.take(r"into folders (\w+) and (\w+)")
    files = list(anon.iterdir())
    (anon / inside).mkdir()
    for file in files:
        file.rename(anon / inside / file.name)
    save_pictures(anon.parent / "Ground", patient.labels(CHAOS))
    for path in (anon.parent / "Ground").glob("IMG-0002-001*"):
        path.unlink() if int(path.stem[-3:]) > 100 else None
    refusal.works()


# --- grids and label values ---


def test_a_label_map_far_from_its_scan_is_replaced(refuse, blocks, train_order):
    matrix = affine()
    matrix[0, 3] += 200
    blocks.write_label(1, organs(1), matrix)
    order = (*train_order, "--regrid-labels")
    refusal = refuse("datasets/regrid.py regrid_labels GridMismatch", *order).asks("Use files that belong together")
    blocks.write_label(1, organs(1))
    refusal.works()


@pytest.fixture
def strange(blocks):
    """Two values without a name, in two cases."""
    for number, value in ((1, 9), (3, 7)):
        labels = organs(number)
        labels[0, 0, :2] = value
        blocks.write_label(number, labels)
    return blocks


@pytest.mark.parametrize("cure", ["map", "ignore", "name"])
def test_values_without_a_name(refuse, strange, train_order, cure):
    refusal = refuse("datasets/rules.py unknown_labels UnknownLabels", *train_order)
    if cure == "map":
        refusal.works(*options_of(refusal.take(r"with ((?:--map \d+=LABEL ?)+)").replace("LABEL", "liver")))
    elif cure == "ignore":
        refusal.works(*options_of(refusal.take(r"with ((?:--ignore \d+ ?)+)")))
    else:
        refusal.asks("or name them in dataset.json")
        values = re.findall(r"(\d+) \(\d+ voxels", refusal.error.fault)
        strange.describe(labels=LABELS | {f"new {value}": int(value) for value in values})
        rest = [organs(number) for number in range(strange.count)]
        for number, labels in enumerate(rest):  # so that each fold trains on them
            labels[0, 0, :2] = 9
            labels[0, 1, :2] = 7
            strange.write_label(number, labels)
        refusal.works()


@pytest.mark.parametrize("cure", ["correct", "layout"])
def test_values_that_a_layout_does_not_know(refuse_call, tmp_path, cure):
    write_miniature("btcv", tmp_path)
    path = tmp_path / "RawData" / "Training" / "label" / "label0001.nii.gz"
    image = nibabel.load(path)
    array = np.asarray(image.dataobj).copy()
    array[0, 0, 0] = 14
    nibabel.save(nibabel.Nifti1Image(array, image.affine), path)
    key = "scans/read.py refuse_unknown_values UnknownLabels"
    refusal = refuse_call(key, load_all, tmp_path, "btcv-8")
    refusal.asks("Correct the label map")
    array[0, 0, 0] = 0
    nibabel.save(nibabel.Nifti1Image(array, image.affine), path)
    refusal.works()


RULES = [
    ("datasets/rules.py with_rules UnknownSetting", ("--map", "4=9"), r"one of: 0 \w+, (\d+) ", ("--map", "4={}")),
    ("datasets/rules.py parse_rules UnknownSetting", ("--map", "4=1", "--map", "4=2"), "Keep (one)", ("--map", "4=1")),
    (
        "datasets/rules.py parse_rules UnknownSetting 2",
        ("--map", "4=1", "--ignore", "4"),
        "Keep (one)",
        ("--ignore", "4"),
    ),
    ("datasets/rules.py parse_rules UnknownSetting 3", ("--ignore", "0"), "(Leave it out)", ()),
    (
        "datasets/rules.py _parse_value UnknownSetting",
        ("--ignore", "spleeen"),
        r"Did you mean (\w+)\?",
        ("--ignore", "{}"),
    ),
    ("datasets/rules.py _parse_value UnknownSetting", ("--ignore", "xyz"), r"(\d+) spleen", ("--ignore", "{}")),
    (
        "datasets/rules.py _unreadable_rule UnknownSetting",
        ("--map", "4"),
        r"example, --map (\d+=\d+)\.",
        ("--map", "{}"),
    ),
    (
        "datasets/rules.py _unreadable_rule UnknownSetting",
        ("--ignore", ""),
        r"example, --ignore (\d+)\.",
        ("--ignore", "{}"),
    ),
]


@pytest.mark.parametrize(("key", "given", "pattern", "cure"), RULES)
def test_rules_that_cannot_be_read(refuse, command, train_order, key, given, pattern, cure):
    refusal = refuse(key, *train_order, *given)
    found = refusal.take(pattern)
    code, output = command(*train_order, *(part.format(found) for part in cure))
    assert code == 0, output


def test_rules_that_leave_nothing(refuse, command, train_order):
    ignored = [part for value in LABELS.values() for part in ("--ignore", value)]
    refusal = refuse("datasets/rules.py with_rules UnknownSetting 2", *train_order, *ignored)
    kept = refusal.take(r"Keep one of: (\d+) ")
    rest = [part for value in LABELS.values() if str(value) != kept for part in ("--ignore", value)]
    assert command(*train_order, *rest)[0] == 0


# --- folds ---


def test_a_fold_that_is_not_there(refuse, train_order):
    refusal = refuse("datasets/folds.py select_fold FoldOutOfRange", *train_order, "-f", 9)
    for fold in refusal.take(r"folds (\d+) to (\d+), or"):
        refusal.works("-f", fold)
    _, *every = refusal.take("`(train -f all)`").split()
    refusal.works(*every)


@pytest.mark.parametrize("cure", ["all", "add", "another"])
def test_a_fold_without_validation(refuse, tmp_path, stop_before_steps, cure):
    blocks = BlockDataset(tmp_path / "data", count=1)
    small = ("-c", "tiny", "--device", "cpu", "--set", "data.image_size=128")
    order = ("train", "-d", blocks.folder, "-o", tmp_path / "run", *small)
    refusal = refuse("datasets/folds.py select_fold FoldOutOfRange 2", *order)
    if cure == "all":
        _, *every = refusal.take("`(train -f all)`").split()
        refusal.works(*every)
        return
    BlockDataset(tmp_path / "data", count=3)
    if cure == "add":
        splits = tmp_path / "run" / refusal.take(r"to (\S+\.json) too")
        folds = [
            {"train": list(fold.train), "val": list(fold.val)} for fold in make_folds(["case_0", "case_1", "case_2"])
        ]
        assert splits.exists()
        splits.write_text(json.dumps(folds))
        refusal.works()
    else:
        refusal.works(refusal.take(r"a new (-o)"), tmp_path / "other")


def test_no_case_to_split(refuse_call):
    refusal = refuse_call("datasets/folds.py make_folds NoCases", make_folds, []).asks("Add cases to the dataset")
    refusal.works(["a", "b"])


GOOD = [{"train": ["case_1", "case_2", "case_3", "case_4"], "val": ["case_0"]}]
SPLITS = [
    ("datasets/folds.py _read_entries BadSplits", {}, "Delete the file", None),
    (
        "datasets/folds.py _parse_fold BadSplits",
        [{"train": "case_1", "val": ["case_0"]}],
        "Correct it, or delete",
        GOOD,
    ),
    ("datasets/folds.py _parse_fold BadSplits 2", [{"train": [], "val": ["case_0"]}], 'Add cases to its "train"', GOOD),
    (
        "datasets/folds.py _parse_fold BadSplits 3",
        [{"train": ["case_0", *GOOD[0]["train"]], "val": ["case_0"]}],
        "Take them out of one of the two lists",
        GOOD,
    ),
    (
        "datasets/folds.py _require_known BadSplits",
        [{"train": [*GOOD[0]["train"], "case_9"], "val": ["case_0"]}],
        "take them out of the file",
        GOOD,
    ),
]


@pytest.mark.parametrize(
    ("place", "key", "content", "words", "corrected"),
    [("run", *SPLITS[1]), *(("dataset", *row) for row in SPLITS)],
)
def test_folds_are_corrected_or_made_anew(refuse, blocks, train_order, tmp_path, place, key, content, words, corrected):
    path = (blocks.folder if place == "dataset" else tmp_path / "run") / "splits_final.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(content))
    refusal = refuse(key, *train_order).asks(words)
    if corrected:
        path.write_text(json.dumps(corrected))
        refusal.works()
        for written in (path, tmp_path / "run" / "splits_final.json"):
            written.write_text(json.dumps(content))
    if "delete" in refusal.error.cure.lower():  # "to have new folds made"
        path.unlink()
        (tmp_path / "run" / "splits_final.json").unlink(missing_ok=True)
        refusal.works()


@pytest.mark.parametrize("cure", ["keep together", "delete"])
def test_scans_of_a_patient_stay_together(refuse_call, tmp_path, cure):
    path = tmp_path / "splits_final.json"
    path.write_text(json.dumps([{"train": ["1_a", "2_a"], "val": ["1_b"]}]))
    groups = {"1_a": "1", "1_b": "1", "2_a": "2"}
    key = "datasets/folds.py _require_separate_patients BadSplits"
    refusal = refuse_call(key, read_folds, path, list(groups), groups)
    refusal.asks("Keep all scans of a patient in one of the two lists", "delete the file")
    path.write_text(json.dumps([{"train": ["2_a"], "val": ["1_a", "1_b"]}]))
    refusal.works()


# --- the doctor ---


@pytest.mark.parametrize("cure", ["cures", "fix"])
def test_findings_are_mended(refuse, command, strange, tmp_path, cure):
    refusal = refuse("datasets/doctor/diagnosis.py require_sound NeedsMending", "doctor", strange.folder)
    if cure == "cures":
        refusal.asks("Follow the cures above")
        (options,) = re.findall(r"--ignore 7|--ignore 9", refusal.output)[:1]
        assert options
        refusal.works("--ignore", 7, "--ignore", 9)
    else:
        new = tmp_path / "copies"
        rest = refusal.take("copies with (--fix) FOLDER")
        refusal_of_some = refuse(
            "datasets/doctor/mending.py require_whole NeedsMending", "doctor", strange.folder, rest, new
        )
        refusal_of_some.asks("Train without them", "mended.json")
        assert json.loads((new / refusal_of_some.take(r"(\w+\.json) in that folder")).read_text())["left_out"]
        assert command("doctor", new)[0] == 0


def test_nothing_can_be_corrected(refuse, tmp_path):
    blocks = BlockDataset(tmp_path / "data", count=2)
    for number in range(2):
        blocks.write_label(number, organs(number) * 10)
    order = ("doctor", blocks.folder, "--fix", tmp_path / "copies")
    refusal = refuse("datasets/doctor/mending.py write_mended NoCases", *order)
    refusal.asks("Correct by hand the faults that doctor lists")
    for number in range(2):
        blocks.write_label(number, organs(number))
    refusal.works()


@pytest.mark.parametrize("place", ["inside", "full"])
def test_copies_go_into_a_new_folder(refuse, blocks, tmp_path, place):
    target = blocks.folder / "copies" if place == "inside" else tmp_path
    refusal = refuse(
        "datasets/doctor/mending.py require_new_target TargetExists", "doctor", blocks.folder, "--fix", target
    )
    refusal.works(refusal.take(r"a new folder with (--fix)"), tmp_path / "copies")


def test_copies_go_to_another_place(refuse, blocks, tmp_path):
    (tmp_path / "file").touch()
    order = ("doctor", blocks.folder, "--fix", tmp_path / "file" / "copies")
    refusal = refuse("datasets/doctor/mending.py _temporary_folder UnwritableTarget", *order)
    refusal.works(refusal.take(r"another place with (--fix)"), tmp_path / "copies")


ABSENT = [
    ("datasets/doctor/dataset_checks.py classes_absent_from_folds _absent_from", "warning"),
    ("datasets/doctor/dataset_checks.py classes_absent_from_folds _absent_from 2", "note"),
]


@pytest.mark.parametrize(("key", "severity"), ABSENT)
def test_a_class_that_one_part_of_a_fold_lacks(command, blocks, train_order, key, severity):
    """Findings, not errors: what they announce is true, and the way out works."""
    assert key in SITES
    fold = make_folds([f"case_{number}" for number in range(blocks.count)])[0]
    for case in fold.train if severity == "warning" else fold.val:
        labels = organs(int(case[-1]))
        labels[labels == 4] = 0
        blocks.write_label(int(case[-1]), labels)
    findings = examine(blocks.folder).findings
    cure = next(finding.cure for finding in findings if finding.check == "folds" and finding.severity == severity)
    code, _ = command(*train_order)
    if severity == "warning":
        assert (code, "Such a fold is refused" in cure) == (3, True)
        assert command(*train_order, *re.search("-f all", cure)[0].split())[0] == 0
    else:
        assert (code, "Its validation score leaves the class out" in cure) == (0, True)


def exchanged(blocks):
    for number in range(blocks.count):
        labels = organs(number)
        blocks.write_label(number, np.array([0, 1, 3, 2, 4], np.uint8)[labels])


def the_same_twice(blocks):
    blocks.image(1).write_bytes(blocks.image(0).read_bytes())


def moved(blocks):
    matrix = affine()
    matrix[0, 3] += 8
    blocks.write_label(1, organs(1), matrix)


def of_no_case(blocks):
    blocks.describe(labels=LABELS | {"pancreas": 5})


def change_scans(blocks, change):
    for number in range(blocks.count):
        image = nibabel.load(blocks.image(number))
        blocks.write_image(number, change(np.asarray(image.dataobj)).astype(np.int16))


def plus_1024(blocks):
    change_scans(blocks, lambda image: image + 1100)


def as_a_window(blocks):
    change_scans(blocks, lambda image: np.clip((image + 1000) / 5, 0, 255))


FAULTS = [
    ("duplicates", the_same_twice, "--fix keeps the first"),
    ("grids", moved, "write copies with --fix"),
    ("classes", of_no_case, "Take it out of the dataset's description"),
    ("orientation", exchanged, "if all cases have them exchanged, use --map"),
    ("intensities", plus_1024, "Subtract 1024"),
    ("intensities", as_a_window, 'call the channel other than "CT"'),
]


@pytest.mark.parametrize(("check", "spoil", "words"), FAULTS)
def test_what_the_doctor_says_works(command, blocks, tmp_path, check, spoil, words):
    spoil(blocks)
    finding = next(finding for finding in examine(blocks.folder).findings if finding.check == check)
    assert (finding.severity, words in finding.cure) == ("error", True), finding
    assert command("doctor", blocks.folder)[0] == 3
    options = []
    if "--fix" in words:
        command("doctor", blocks.folder, "--fix", tmp_path / "copies")
        shutil.rmtree(blocks.folder)
        (tmp_path / "copies").rename(blocks.folder)
    elif "--map" in words:
        options = " ".join(re.findall(r"--map \S+=\d+", finding.cure)).split()
    elif "Subtract" in words:
        change_scans(blocks, lambda image: image - int(re.search(r"\d+", finding.cure)[0]))
    else:
        blocks.describe("MR" if "channel" in words else "CT")
    assert command("doctor", blocks.folder, *options)[0] == 0

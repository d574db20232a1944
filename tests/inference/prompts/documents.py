"""Documents of prompts for tests: a small one, and any that hypothesis draws."""

import numpy as np
from hypothesis import strategies as st

from sautomed.inference.prompts.document import (
    SCHEMA,
    Carried,
    GivenAbsence,
    GivenBox,
    GivenMask,
    LockedSlice,
    ModelIdentity,
    OrganPrompt,
    PromptsDocument,
    ReadAs,
    ScanIdentity,
    SlicePrompts,
)
from sautomed.inference.prompts.runs import runs_of

SHAPE = (3, 8, 12)
ORGANS = {"liver": 1, "spleen": 5}


def document(**changes):
    """An automatic document of three slices, in which the liver is on slices 1 and 2."""
    found = OrganPrompt(presence=0.9, source="auto", box=(1.0, 2.0, 5.0, 6.5), mask_box=(1.0, 2.0, 4.0, 6.0))
    missed = OrganPrompt(presence=0.1, source="auto", box=None, mask_box=None)
    slices = tuple(
        SlicePrompts(index=t, organs={"liver": found if t else missed, "spleen": missed}) for t in range(SHAPE[0])
    )
    affine = ((0.0, 0.0, -1.0, 7.0), (0.0, -1.0, 0.0, 3.0), (5.0, 0.0, 0.0, -9.5), (0.0, 0.0, 0.0, 1.0))
    scan = ScanIdentity(name="a.nii.gz", sha256="a" * 64, read=ReadAs(), plane="axial", shape=SHAPE, affine=affine)
    given = {"schema_": SCHEMA, "sautomed": "0.1.0", "scan": scan, "model": ModelIdentity(id="tiny", sha256="b" * 64)}
    return PromptsDocument(**given | {"walk": "mid_to_ends", "chunk": 8, "organs": ORGANS, "slices": slices} | changes)


floats = st.floats(0, 1, allow_subnormal=False)
words = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)


@st.composite
def given_boxes(draw, shape=SHAPE):
    rows, columns = shape[1:]
    (x0, x1), (y0, y1) = (
        sorted(draw(st.lists(st.floats(0, side), min_size=2, max_size=2, unique=True))) for side in (columns, rows)
    )
    return GivenBox(box=(x0, y0, x1, y1))


@st.composite
def masks(draw, shape=SHAPE):
    rows, columns = shape[1:]
    top, left = draw(st.integers(0, rows - 1)), draw(st.integers(0, columns - 1))
    mask = np.zeros((rows, columns), bool)
    mask[top : top + draw(st.integers(0, 4)), left : left + draw(st.integers(1, 5))] = True
    return mask


def givens(shape=SHAPE):
    painted = masks(shape).map(lambda mask: GivenMask(runs=runs_of(mask)))
    return st.one_of(given_boxes(shape), st.just(GivenAbsence()), painted)


@st.composite
def documents(draw):
    """Any document of three slices with any edits."""
    names = draw(st.lists(words, min_size=1, max_size=3, unique=True))
    boxes = st.none() | given_boxes().map(lambda found: found.box)
    prompts = st.builds(
        OrganPrompt, presence=st.none() | floats, source=st.just("auto"), box=boxes, mask_box=boxes,
        confidence=st.none() | floats,
    )  # fmt: skip
    slices = tuple(SlicePrompts(index=t, organs={name: draw(prompts) for name in names}) for t in range(SHAPE[0]))
    read = st.builds(ReadAs, series=st.none() | words, frame=st.none() | st.integers(0, 9), resample=st.booleans())
    numbers = st.tuples(*[st.floats(-1e4, 1e4)] * 4)
    scan = ScanIdentity(
        name=draw(words), sha256=draw(st.none() | st.just("0" * 64)), read=draw(read), plane="coronal", shape=SHAPE,
        affine=draw(st.tuples(*[numbers] * 4)),
    )  # fmt: skip
    model = ModelIdentity(id=draw(words), sha256=draw(st.none() | st.just("1" * 64)))
    whole = document(scan=scan, model=model, slices=slices, organs={name: 3 + n for n, name in enumerate(names)})
    indices, organs = st.integers(0, SHAPE[0] - 1), st.sampled_from(names)
    carried = st.builds(
        Carried, index=indices, organ=organs, given=givens(), slices=st.lists(indices, max_size=3).map(tuple)
    )
    locked = draw(st.dictionaries(indices, st.dictionaries(organs, masks().map(runs_of))))
    return whole.with_edits(
        draw(st.dictionaries(st.tuples(indices, organs), givens(), max_size=4)),
        tuple(draw(st.lists(carried, max_size=2))),
        tuple(LockedSlice(index=t, masks=found) for t, found in locked.items()),
    )

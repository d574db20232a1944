"""Messages, ids and exit codes of all errors."""

import pickle

from sautomed import errors


def test_a_message_names_the_file_the_fault_and_the_cure_in_this_order():
    error = errors.GridMismatch("they differ.", where="case 7", cure="Resample one.")
    assert str(error) == "case 7: they differ. Resample one."


def subclasses(kind=errors.SautomedError):
    for child in kind.__subclasses__():
        yield child
        yield from subclasses(child)


def test_ids_are_unique_and_families_share_their_exit_code():
    kinds = [kind for kind in subclasses() if kind.__module__.startswith("sautomed.errors.")]
    assert len(kinds) > 50
    assert len({kind.id for kind in kinds}) == len(kinds)
    codes = {"2": 2, "3": 3, "4": 4, "5": 5, "6": 6, "7": 1}
    for kind in kinds:
        assert kind.exit_code == codes[kind.id.removeprefix("SAM-E0")[0]], kind


def test_errors_can_be_pickled_and_so_leave_a_worker_process():
    error = pickle.loads(pickle.dumps(errors.NoCases("none.", where="here", cure="Add some.")))
    assert isinstance(error, errors.NoCases)
    assert str(error) == "here: none. Add some."

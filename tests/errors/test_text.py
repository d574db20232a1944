from sautomed.errors.text import listed, listed_labels


def test_a_long_list_is_cut_and_says_how_many_more_there_are():
    assert listed(["a", "b"]) == "a, b"
    assert listed(range(10), most=3) == "0, 1, 2 and 7 more"
    assert listed(range(8)) == "0, 1, 2, 3, 4, 5, 6, 7"
    assert listed([]) == ""


def test_labels_are_listed_with_their_values():
    assert listed_labels({1: "liver", 5: "spleen"}) == "1 liver, 5 spleen"

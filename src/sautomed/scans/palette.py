"""Colour and readable name of a class: the same in pictures, label maps and DICOM."""

# Far apart in hue or lightness, bright on a dark scan; the first thirteen serve the largest public label set.
PALETTE = (
    "#e6394b", "#3fbf55", "#ffd92f", "#4f7bff", "#ff8c1a", "#b565ff", "#35d0f0", "#f542d7", "#a6e22e", "#ffb3c6",
    "#1fa193", "#c98a4b", "#d9ccff", "#ff6f61", "#8fe3b0", "#9aa01e", "#ffd3a8", "#6f7fb5", "#d1537f", "#bfc6cc",
)  # fmt: skip


def colour_of(class_id: int) -> str:
    """Return the colour of a class as "#rrggbb"; colours repeat after the end of the palette."""
    return PALETTE[(class_id - 1) % len(PALETTE)]


def display_name(name: str) -> str:
    """Return a name without underscores: "right kidney" for "right_kidney"."""
    return name.replace("_", " ")

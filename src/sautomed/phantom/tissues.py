"""How bright each tissue is.

CT is portal-venous, in HU: typical values of enhanced abdominal CT, rounded. MR is T2 with fat suppression (SPIR), in
the arbitrary units of the CHAOS scans. `Look` holds mean, spread between patients, and texture within one.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Look:
    """Brightness of a tissue: mean, and standard deviations between patients and inside the tissue."""

    mean: float
    between: float = 0.0
    within: float = 0.0


CT: dict[str, Look] = {
    "air": Look(-1000),
    "table": Look(120, 60),
    "foam": Look(-900, 20),
    "skin": Look(0, 15, 15),
    "fat": Look(-102, 6, 9),
    "muscle": Look(58, 6, 10),
    "bone": Look(430, 60, 90),
    "marrow": Look(170, 40, 45),
    "rib": Look(300, 50, 80),
    "cartilage": Look(105, 25, 20),
    "disc": Look(85, 10, 8),
    "cord": Look(32, 5, 5),
    "lung": Look(-840, 35, 35),
    "pulmonary_vessel": Look(40, 30, 10),
    "liver": Look(106, 12, 5),
    "liver_vessel": Look(158, 14, 5),
    "lesion": Look(60, 15, 8),
    "cyst": Look(8, 4, 3),
    "gall_wall": Look(45, 15, 6),
    "bile": Look(9, 6, 3),
    "spleen": Look(116, 10, 4),
    "cortex": Look(182, 18, 8),
    "medulla": Look(150, 24, 10),
    "urine": Look(30, 40, 6),
    "pancreas": Look(90, 11, 14),
    "adrenal": Look(74, 10, 8),
    "stomach": Look(80, 10, 12),
    "chyme": Look(28, 18, 14),
    "oral_contrast": Look(190, 60, 30),
    "stool": Look(-20, 50, 90),
    "gas": Look(-930, 20, 15),
    "bowel": Look(82, 12, 12),
    "esophagus": Look(62, 9, 8),
    "airway_wall": Look(40, 15, 10),
    "artery": Look(150, 18, 4),
    "vein": Look(152, 16, 4),
    "cava": Look(136, 20, 8),
    "upper_vein": Look(140, 35, 8),
    "heart": Look(108, 12, 8),
    "blood": Look(148, 18, 5),
}

MR: dict[str, Look] = {
    "air": Look(6),
    "table": Look(6),
    "foam": Look(6),
    "skin": Look(150, 40, 30),
    "fat": Look(75, 20, 20),
    "muscle": Look(115, 20, 18),
    "bone": Look(25, 8, 8),
    "marrow": Look(150, 35, 25),
    "rib": Look(60, 15, 15),
    "cartilage": Look(90, 20, 15),
    "disc": Look(170, 60, 25),
    "cord": Look(800, 90, 60),
    "lung": Look(22, 8, 10),
    "pulmonary_vessel": Look(90, 40, 20),
    "liver": Look(320, 45, 22),
    "liver_vessel": Look(620, 90, 40),
    "lesion": Look(480, 60, 30),
    "cyst": Look(920, 60, 20),
    "gall_wall": Look(350, 50, 20),
    "bile": Look(900, 110, 20),
    "spleen": Look(580, 75, 30),
    "cortex": Look(600, 60, 35),
    "medulla": Look(720, 75, 45),
    "urine": Look(960, 90, 20),
    "pancreas": Look(340, 55, 50),
    "adrenal": Look(260, 40, 20),
    "stomach": Look(280, 50, 40),
    "chyme": Look(640, 180, 110),
    "oral_contrast": Look(150, 60, 40),
    "stool": Look(260, 90, 130),
    "gas": Look(12, 4, 6),
    "bowel": Look(330, 60, 50),
    "esophagus": Look(260, 40, 30),
    "airway_wall": Look(120, 30, 20),
    "artery": Look(110, 70, 20),  # flow void
    "vein": Look(380, 130, 40),
    "cava": Look(330, 140, 60),
    "upper_vein": Look(300, 100, 30),
    "heart": Look(190, 40, 30),
    "blood": Look(170, 80, 40),
}

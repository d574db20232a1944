"""Brightness of each tissue in CT and MR.

CT is in HU, portal-venous or without contrast agent in the vessels (what was drunk stays bright): typical values of
abdominal CT, rounded. MR is T2 with fat suppression (SPIR), in the arbitrary units of the CHAOS scans.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Brightness:
    """Mean of a tissue, and its standard deviations between patients and within one."""

    mean: float
    between: float = 0.0
    within: float = 0.0


CT: dict[str, Brightness] = {
    "air": Brightness(-1000),
    "table": Brightness(120, 60),
    "foam": Brightness(-900, 20),
    "skin": Brightness(0, 15, 15),
    "fat": Brightness(-102, 6, 9),
    "muscle": Brightness(58, 6, 10),
    "bone": Brightness(430, 60, 90),
    "marrow": Brightness(170, 40, 45),
    "rib": Brightness(300, 50, 80),
    "cartilage": Brightness(105, 25, 20),
    "disc": Brightness(85, 10, 8),
    "cord": Brightness(32, 5, 5),
    "lung": Brightness(-840, 35, 35),
    "pulmonary_vessel": Brightness(40, 30, 10),
    "liver": Brightness(106, 12, 5),
    "liver_vessel": Brightness(158, 14, 5),
    "lesion": Brightness(60, 15, 8),
    "cyst": Brightness(8, 4, 3),
    "gall_wall": Brightness(45, 15, 6),
    "bile": Brightness(9, 6, 3),
    "spleen": Brightness(116, 10, 4),
    "cortex": Brightness(182, 18, 8),
    "medulla": Brightness(150, 24, 10),
    "urine": Brightness(30, 40, 6),
    "pancreas": Brightness(90, 11, 14),
    "adrenal": Brightness(74, 10, 8),
    "stomach": Brightness(80, 10, 12),
    "chyme": Brightness(28, 18, 14),
    "oral_contrast": Brightness(190, 60, 30),
    "stool": Brightness(-20, 50, 90),
    "gas": Brightness(-930, 20, 15),
    "bowel": Brightness(82, 12, 12),
    "esophagus": Brightness(62, 9, 8),
    "airway_wall": Brightness(40, 15, 10),
    "artery": Brightness(150, 18, 4),
    "vein": Brightness(152, 16, 4),
    "cava": Brightness(136, 20, 8),
    "upper_vein": Brightness(140, 35, 8),
    "heart": Brightness(108, 12, 8),
    "blood": Brightness(148, 18, 5),
}

CT_UNENHANCED: dict[str, Brightness] = CT | {
    "marrow": Brightness(130, 40, 45),
    "pulmonary_vessel": Brightness(0, 25, 10),
    "liver": Brightness(56, 7, 4),
    "liver_vessel": Brightness(42, 4, 3),
    "lesion": Brightness(38, 8, 6),
    "gall_wall": Brightness(30, 8, 5),
    "spleen": Brightness(48, 4, 3),
    "cortex": Brightness(34, 4, 3),
    "medulla": Brightness(28, 4, 3),
    "urine": Brightness(6, 4, 3),
    "pancreas": Brightness(40, 6, 8),
    "adrenal": Brightness(24, 10, 6),
    "stomach": Brightness(40, 6, 6),
    "bowel": Brightness(38, 8, 8),
    "esophagus": Brightness(36, 6, 5),
    "artery": Brightness(42, 4, 3),
    "vein": Brightness(42, 4, 3),
    "cava": Brightness(41, 4, 3),
    "upper_vein": Brightness(42, 5, 3),
    "heart": Brightness(46, 4, 4),
    "blood": Brightness(42, 4, 3),
}

MR: dict[str, Brightness] = {
    "air": Brightness(6),
    "table": Brightness(6),
    "foam": Brightness(6),
    "skin": Brightness(150, 40, 30),
    "fat": Brightness(75, 20, 20),
    "muscle": Brightness(115, 20, 18),
    "bone": Brightness(25, 8, 8),
    "marrow": Brightness(150, 35, 25),
    "rib": Brightness(60, 15, 15),
    "cartilage": Brightness(90, 20, 15),
    "disc": Brightness(170, 60, 25),
    "cord": Brightness(800, 90, 60),
    "lung": Brightness(22, 8, 10),
    "pulmonary_vessel": Brightness(90, 40, 20),
    "liver": Brightness(320, 45, 22),
    "liver_vessel": Brightness(620, 90, 40),
    "lesion": Brightness(480, 60, 30),
    "cyst": Brightness(920, 60, 20),
    "gall_wall": Brightness(350, 50, 20),
    "bile": Brightness(900, 110, 20),
    "spleen": Brightness(580, 75, 30),
    "cortex": Brightness(600, 60, 35),
    "medulla": Brightness(720, 75, 45),
    "urine": Brightness(960, 90, 20),
    "pancreas": Brightness(340, 55, 50),
    "adrenal": Brightness(260, 40, 20),
    "stomach": Brightness(280, 50, 40),
    "chyme": Brightness(640, 180, 110),
    "oral_contrast": Brightness(150, 60, 40),
    "stool": Brightness(260, 90, 130),
    "gas": Brightness(12, 4, 6),
    "bowel": Brightness(330, 60, 50),
    "esophagus": Brightness(260, 40, 30),
    "airway_wall": Brightness(120, 30, 20),
    "artery": Brightness(110, 70, 20),  # flow void
    "vein": Brightness(380, 130, 40),
    "cava": Brightness(330, 140, 60),
    "upper_vein": Brightness(300, 100, 30),
    "heart": Brightness(190, 40, 30),
    "blood": Brightness(170, 80, 40),
}

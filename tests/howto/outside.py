"""Stands for any program in any language: reads images, writes one map per row of items.csv. Nothing of vxp is used."""

import csv
from pathlib import Path

import numpy as np
from PIL import Image

Path("maps").mkdir()
for row in csv.DictReader(Path("items/items.csv").read_text().splitlines()):
    grey = np.asarray(Image.open(f"items/{row['file']}").convert("L"), float)
    away = np.abs(grey - np.median(grey))  # what stands out from the ground
    np.save(f"maps/{int(row['row']):05d}.npy", away.reshape(16, 4, 16, 4).mean((1, 3)))

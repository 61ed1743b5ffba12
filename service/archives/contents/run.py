"""What is on an image: `python run.py IMAGE…`. Needs onnxruntime, numpy and pillow."""

import json
import sys
from pathlib import Path

import numpy as np
import onnxruntime
from PIL import Image, ImageOps

here = Path(__file__).parent
settings = json.loads((here / "settings.json").read_text(encoding="utf-8"))
labels = json.loads((here / "labels.json").read_text(encoding="utf-8"))
session = onnxruntime.InferenceSession(str(here / "model.onnx"), providers=["CPUExecutionProvider"])
size, filters = settings["image_size"], {"bicubic": Image.Resampling.BICUBIC, "bilinear": Image.Resampling.BILINEAR}
for name in sys.argv[1:]:
    image = ImageOps.exif_transpose(Image.open(name)).convert("RGB")
    scale = max(round(size / settings["crop_fraction"]), size) / min(image.size)
    resized = [max(int(side * scale + 1e-6), size) for side in image.size]
    starts = [round((whole - size) / 2) * side / whole for whole, side in zip(resized, image.size, strict=True)]
    ends = [start + size * side / whole for start, whole, side in zip(starts, resized, image.size, strict=True)]
    pixels = np.asarray(image.resize((size, size), filters[settings["interpolation"]], (*starts, *ends)))[None]
    logits = session.run(None, {settings["input"]: pixels})[0][0] / settings["temperature"]
    scores = np.exp(logits - logits.max()) / np.exp(logits - logits.max()).sum()
    print(name, *[f"{labels[c]} {scores[c]:.4f}" for c in np.argsort(-scores)[:5]], sep="\t")

"""Data: names, folders, files and arrays become one kind of dataset. Imports neither Keras nor TensorFlow."""

from __future__ import annotations

from .builtin import list_datasets
from .dataset import Dataset, DatasetInfo, Split, match_classes, of_class
from .guess import guess_medium
from .images import decode_image
from .inputs import read_input
from .interaction import InteractionFrontEnd
from .interactions import History
from .open import ARRAYS, open_dataset
from .sound import SoundFrontEnd, SoundSettings
from .sound_files import SoundSplit
from .spec import InputSpec, input_type
from .text import TextFrontEnd, TextSettings

__all__ = [
    "ARRAYS",
    "Dataset",
    "DatasetInfo",
    "History",
    "InputSpec",
    "InteractionFrontEnd",
    "SoundFrontEnd",
    "SoundSettings",
    "SoundSplit",
    "Split",
    "TextFrontEnd",
    "TextSettings",
    "decode_image",
    "guess_medium",
    "input_type",
    "list_datasets",
    "match_classes",
    "of_class",
    "open_dataset",
    "read_input",
]

"""kzoo.pretrained: weights that others published, moved into the models of the zoo.

A name is `SOURCE:TAG`: `keras.applications:imagenet`, or `timm:resnet18.a1_in1k`. A module a source.
"""

from .sources import fetch_pretrained as fetch_pretrained
from .sources import is_published as is_published
from .weights import Pretrained as Pretrained

__all__ = ["Pretrained", "fetch_pretrained", "is_published"]

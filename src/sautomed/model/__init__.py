"""The method, part by part (Liang et al. 2024), and the interface of every model.

sautomed.py           Fig. 1: the parts together; build.py makes it from settings
sam/                  SAM, and its image encoder with LoRA as a trunk
trunk_*.py            small image encoders, trained as a whole: a ResNet from scratch, and EfficientNet-Lite0 from
                      what imagenet_weights.py reads; what both have in common is in trunk_convolutional.py
slice_attention.py    local 3D awareness, Eq. 1-2
history.py            global 3D awareness, Eq. 3
box_prompt.py         the Box Prompt Generator, Eq. 4-5; corner_tokens.py its prompts; boxes.py boxes of label slices
given.py              what a person gives for a slice, and the gate that enforces it
corrections.py        a walk with corrections, which travel by affinity.py
mask_decoder.py       SAM's decoder with one head per organ; two_way_transformer.py and position_code.py its parts
prompt_head.py        makes masks heed the prompts, learned from prompt_rows.py
fold_norms.py         quicker trunks for inference
losses.py             cross-entropy, Dice, boxes and presence
across_ranks.py       sums, conditions and random rows where several processes train together
walk_order.py         from the middle slice to both ends; walk.py the walk as an object
feature_store.py      features along a walk; feature_file.py those that do not fit into memory
segmenter.py          the interface; slice_walker.py and stack_segmenter.py its two kinds
values.py             what passes between a model and its loops: features, state, predictions

`load_sam` loads SAM itself, for baselines and comparisons with the official code.
"""

from typing import TYPE_CHECKING

from sautomed.lazy import lazy_names

if TYPE_CHECKING:
    from sautomed.model.sam.network import load_sam

__all__ = ["load_sam"]
__getattr__ = lazy_names(__name__, {"load_sam": "sam.network"})  # transformers comes with the first use

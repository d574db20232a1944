"""A head that is bound to its class: it reads what is known of a class on a slice, and changes that class's logits.

SAM hears a mask prompt because it was trained on a billion of them. A decoder that is trained on a dozen scans stays
deaf to prompts that it gets as tokens or shared channels, since the image alone explains its targets. This head sees
one class at a time, with the same weights for all classes, so what a map of prompts means is learned once. Ours; a
setting (`model.prompt_head`) leaves it out.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as nnf
from einops import rearrange
from jaxtyping import Bool, Float
from torch import Tensor, nn

from sautomed.model.across_ranks import on_any_rank
from sautomed.model.given import GivenPrompts, best_of_others
from sautomed.model.values import Seen, SliceState

WIDTHS = (16, 16)  # channels of the two layers
BLURS = (9, 25)  # pixels over which the previous mask is averaged, so that a head sees it from farther away
MAPS = 7 + len(BLURS)  # of `prompt_maps`
# Channels of the head's input: those that are zero, for a class of which something is known, unless something is given
# ("unknown", and what is given), and the others, among them the two logits that come after the maps.
OF_GIVEN = [1 + len(BLURS), MAPS - 2, MAPS - 1]
USUAL = [channel for channel in range(MAPS + 2) if channel not in OF_GIVEN]
FADE = 0.97  # per slice, of the memory of a correction
LOGIT_RANGE = 8.0  # the unit of logits going in, where those beyond tell nothing more, and of changes coming out


class PromptHead(nn.Module):
    """From the decoder's logits, its finest features and maps of prompts to logits that heed the prompts.

    Silent at first: its last layers start at zero. What it learns does not reach the network behind it: contradicting
    prompts would teach that to doubt what an image shows, and cost accuracy where nobody gives any.

    Args:
        pixels: Channels of the decoder's finest features.
    """

    def __init__(self, pixels: int):
        super().__init__()
        first, second = WIDTHS
        # a convolution of features and maps together, of which the features' part is the same for all classes
        self.from_pixels = nn.Conv2d(pixels, first, 3, padding=1)
        self.from_maps = nn.Conv2d(MAPS + 2, first, 3, padding=1, bias=False)
        self.wide = nn.Conv2d(first, second, 3, padding=2, dilation=2)
        self.change = nn.Conv2d(second, 1, 1)
        # what a map says by itself, which is all that "not here" needs
        self.direct = nn.Conv2d(MAPS + 2, 1, 1, bias=False)
        for parameter in (*self.change.parameters(), *self.direct.parameters()):
            nn.init.zeros_(parameter)

    def forward(
        self,
        logits: Float[Tensor, "b k1 h w"],
        pixels: Float[Tensor, "b c h w"],
        state: SliceState,
        given: GivenPrompts | None,
    ) -> Float[Tensor, "b k1 h w"]:
        """Change the logits of the classes of which anything is known or given; the others and the background stay.

        Returns:
            The logits themselves where nothing is known or given of any class, else others without gradient to them.
        """
        informed = state.seen != Seen.UNKNOWN
        if given is not None:
            informed = informed | given.is_given
        # an exported graph has no branches; the last product leaves classes as they are of which nothing is known
        if not torch.compiler.is_exporting() and not self._is_any(informed):
            return logits
        logits, pixels = logits.detach(), pixels.detach()
        maps = prompt_maps(state, given, (logits.shape[-2], logits.shape[-1]))
        own, best_other = logits[:, 1:], best_of_others(logits)
        bounded = [x.clamp(-LOGIT_RANGE, LOGIT_RANGE) / LOGIT_RANGE for x in (own, best_other)]
        change = self._changes([x.to(logits) for x in (*maps, *bounded)], pixels, given is not None)
        return torch.cat([logits[:, :1], own + LOGIT_RANGE * change * informed[..., None, None]], 1)

    def _changes(
        self, seen: Sequence[Float[Tensor, "b k h w"]], pixels: Float[Tensor, "b c h w"], is_given: bool
    ) -> Float[Tensor, "b k h w"]:
        """Return the change of each class's logits, in units of `LOGIT_RANGE`.

        Args:
            seen: The maps of prompts, the class's own logits and the best of the others.
        """
        b, classes = seen[0].shape[:2]
        x, direct = self._heard(seen, USUAL)
        if is_given:  # apart: leaving these out saves a third of the time, and a row without prompts keeps every bit
            more, more_direct = self._heard(seen, OF_GIVEN)
            x, direct = x.add_(more), direct.add_(more_direct)
        # in place: memory for every result anew takes longer than computing it
        x.unflatten(0, (b, classes)).add_(self.from_pixels(pixels)[:, None])
        change = self.change(self.wide(x.relu_()).relu_()) + direct
        return rearrange(change, "(b k) 1 h w -> b k h w", b=b)

    def _heard(self, seen: Sequence[Float[Tensor, "b k h w"]], channels: Sequence[int]) -> tuple[Tensor, Tensor]:
        """Return what some of the maps add to the first layer and, directly, to the change: (b*k c h w) and c = 1."""
        maps = torch.stack([seen[channel] for channel in channels], -1).flatten(0, 1).permute(0, 3, 1, 2)
        wide = nnf.conv2d(maps, self.from_maps.weight[:, channels], padding=1)
        return wide, nnf.conv2d(maps, self.direct.weight[:, channels])

    def _is_any(self, informed: Bool[Tensor, "b k"]) -> bool:
        """Return whether any flag is set: in training of the whole batch, as the loss counts changed logits twice."""
        return on_any_rank(informed) if self.training else bool(informed.any())

    def remember(
        self,
        state: SliceState,
        given: GivenPrompts | None,
        logits: Float[Tensor, "b k1 h w"],
        image_alone: Float[Tensor, "b k1 h w"],
    ) -> tuple[Float[Tensor, "b k h w"], Float[Tensor, "b k h w"]]:
        """Return the masks of this slice, and what a person's prompts changed of them, for the next slice.

        Args:
            logits: Those that the masks are made of.
            image_alone: Those before this head.
        """
        now = _probabilities(logits)
        return now, carry_on(state, given, now, _probabilities(image_alone))


class NoPromptHead(nn.Module):
    """In place of `PromptHead` where it is switched off, as in the paper: logits stay, and no maps are kept."""

    def forward(self, logits: Tensor, pixels: Tensor, state: SliceState, given: GivenPrompts | None) -> Tensor:
        return logits

    def remember(
        self, state: SliceState, given: GivenPrompts | None, logits: Tensor, image_alone: Tensor
    ) -> tuple[Tensor, Tensor]:
        return state.masks, state.carried


def prompt_maps(state: SliceState, given: GivenPrompts | None, size: tuple[int, int]) -> list[Float[Tensor, "b k h w"]]:
    """Return what is known of each class at each place of the logits: `MAPS` maps.

    In this order: the mask of the previous slice, the same averaged over `BLURS`, whether the class is unknown or
    absent there, what a person's prompts added to it and removed from it, and what is given for this slice: inside and
    outside of a box or mask, all of the slice being outside where a class is given as not here.
    """
    before = resized(state.masks, size)
    blurred = [_blurred(before, width) for width in BLURS]
    carried = resized(state.carried, size)
    flags = [(state.seen == seen)[..., None, None].expand_as(before).to(before) for seen in (Seen.UNKNOWN, Seen.ABSENT)]
    nothing = before.new_zeros(()).expand_as(before)
    inside, outside = (nothing, nothing) if given is None else (given.inside(*size), given.outside(*size))
    return [before, *blurred, *flags, carried.relu(), (-carried).relu(), inside.to(before), outside.to(before)]


def _blurred(maps: Float[Tensor, "b k h w"], width: int) -> Float[Tensor, "b k h w"]:
    """Average over squares of this width, with zeros around; as products, which are quicker than pooling."""
    h, w = maps.shape[-2:]
    down, across = (_band(n, width, maps) for n in (h, w))
    return down @ (maps @ across)


def _band(n: int, width: int, like: Tensor) -> Float[Tensor, "{n} {n}"]:
    """Return the matrix that averages over `width` of n places, in the type and on the device of `like`."""
    places = torch.arange(n, device=like.device)
    return ((places[:, None] - places).abs() <= width // 2).to(like) / width


def resized(maps: Float[Tensor, "b k _ _"], size: tuple[int, int]) -> Float[Tensor, "b k h w"]:
    """Return maps at this size, averaged where they shrink."""
    if maps.shape[-2:] == size:
        return maps
    if maps.shape[-1] == 1:
        return maps.expand(*maps.shape[:2], *size)
    return nnf.interpolate(maps, size, mode="area" if maps.shape[-1] > size[-1] else "bilinear")


def carry_on(
    state: SliceState,
    given: GivenPrompts | None,
    now: Float[Tensor, "b k h w"],
    without: Float[Tensor, "b k h w"],
) -> Float[Tensor, "b k h w"]:
    """Return what prompts of a person have changed of each class on this slice, for the next one.

    Zero for classes that were not corrected on the way. Where a class was corrected earlier, the larger of what the
    memory changes here and of the memory itself, which fades.

    Args:
        now: Probabilities of the masks of this slice.
        without: Those that the image alone gives.
    """
    carried = FADE * resized(state.carried, (now.shape[-2], now.shape[-1]))
    changed = now - without
    kept = torch.where(changed.abs() > carried.abs(), changed, carried)
    kept = torch.where(state.carried.flatten(2).any(-1)[..., None, None], kept, 0.0)
    if given is None:
        return kept
    return torch.where(given.is_given[..., None, None], changed, kept)


def _probabilities(logits: Float[Tensor, "b k1 h w"]) -> Float[Tensor, "b k1-1 h w"]:
    return logits.detach().float().softmax(1)[:, 1:]

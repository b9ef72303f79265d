"""The first relation layer of many histories that are one and the same but for a few merchants.

Reasons and pairs take one or two merchants out at a time. Most of what the layer asks of a
history is then known from all of it: the product of two merchants' query and key does not depend on
who else is there. So each product is computed once, a merchant's sum over all that it looks at
once, and a history takes from that sum what it lacks and adds what it has instead. The same
attention as the layer's own, in double precision, because a sum may lose nearly all of itself.
"""

from __future__ import annotations

import math
from copy import copy
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from lbsf_core.model.lbsf import LBSF, States
from lbsf_core.model.relation import RelationLayer

#: Fewer histories are sooner done one by one.
LEAST = 8
#: Of all merchants of all histories, the largest share that may differ: each costs as much.
DIFFER = 0.25
#: Numbers that are kept of pairs of merchants: 32 MB.
MOST = 2**22
#: By which factor a merchant may look at one more than at another, as a logarithm. What is left of
#: a sum that lost its largest part is exact to 16 digits less these.
SHARPEST = 20.0


@dataclass(frozen=True)
class Alike:
    """Merchants after the first relation layer, in any of some histories; see `of`.

    V merchants, H heads, D numbers a vector. U of the merchants are there in some histories only.

    Attributes:
        rest: the model without that layer.
        layer: the layer.
        vectors: (V, D) before it.
        most: (V,) who is there in most histories.
        sums: (V, H * (D / H + 1)) what each merchant sums over those, and the weights of it.
        number: (V,) of the U; -1 for the others.
        own: (U, V * H * (D / H + 1)) what each of the U adds to every merchant's sum.
    """

    rest: LBSF
    layer: RelationLayer
    vectors: Tensor
    most: Tensor
    sums: Tensor
    number: Tensor
    own: Tensor

    @classmethod
    def of(cls, model: LBSF, states: States, masks: Tensor) -> Alike | None:
        """For (C, V) histories; None where they are asked sooner, or more exactly, one by one."""
        if len(masks) < LEAST or model.meetings is not None or not len(model.relations):
            return None
        layer = model.relations[0]
        if not isinstance(layer, RelationLayer) or layer.uniform:
            return None
        most = masks.sum(dim=0) * 2 > len(masks)
        differ = masks != most
        some = differ.any(dim=0).nonzero()[:, 0]
        count, width = states.vectors.shape
        size = width // layer.heads
        kept = len(some) * count * (width + layer.heads)
        if kept > MOST or int(differ.sum()) > DIFFER * int(masks.sum()):
            return None
        shape = (count, 3, layer.heads, size)
        q, k, v = layer.query_key_value(layer.norm(states.vectors)).view(shape).unbind(dim=1)
        scores = torch.einsum("ihd,jhd->ijh", q.double(), k.double()) / math.sqrt(size)
        largest = scores.amax(dim=1, keepdim=True)
        if bool((largest - scores.amin(dim=1, keepdim=True) > SHARPEST).any()):
            return None
        weights = torch.exp(scores - largest)  # (V, V, H)
        said = F.pad(v.double(), (0, 1), value=1.0)  # (V, H, D / H + 1)
        sums = torch.einsum("ijh,jhd->ihd", weights * most[None, :, None], said)
        own = weights[:, some].transpose(0, 1)[..., None] * said[some][:, None]  # (U, V, H, ...)
        number = torch.full_like(most, -1, dtype=torch.int64)
        number[some] = torch.arange(len(some), device=some.device)
        return cls(
            rest=_without_first(model),
            layer=layer,
            vectors=states.vectors,
            most=most,
            sums=sums.flatten(1),
            number=number,
            own=own.flatten(1),
        )

    def of_histories(self, masks: Tensor) -> Tensor:
        """(R, D) the merchants of (C, V) histories after the layer, history by history.

        Meanwhile it holds a sum of every merchant in every history, whether it is there or not:
        C * V * (D + H) numbers of 8 bytes.
        """
        who, other = (masks != self.most).nonzero(as_tuple=True)
        sign = torch.where(masks[who, other], 1.0, -1.0).to(self.own)
        ends = F.pad(torch.bincount(who, minlength=len(masks)).cumsum(0), (1, 0))
        moved = F.embedding_bag(
            self.number[other],
            self.own,
            ends,
            mode="sum",
            per_sample_weights=sign,
            include_last_offset=True,
        )
        history, merchant = masks.nonzero(as_tuple=True)
        sums = (self.sums + moved.view(len(masks), *self.sums.shape))[history, merchant]
        sums = sums.view(len(sums), self.layer.heads, -1)
        mixed = (sums[..., :-1] / sums[..., -1:]).flatten(1).to(self.vectors)
        hidden = self.vectors[merchant] + self.layer.out(mixed)
        related: Tensor = hidden + self.layer.feed(hidden)
        return related


def _without_first(model: LBSF) -> LBSF:
    """The same model, its first relation layer left out; nothing is copied."""
    rest = copy(model)
    rest._modules = {**model._modules, "relations": model.relations[1:]}
    return rest

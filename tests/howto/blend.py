"""As little as is needed of an example of the other class."""

import torch
from vxp import explainer
from vxp.models import evaluating


@explainer("blend", signed=False, resample="none", kinds=("counterfactual",), family="counterfactual", passes=21)
@torch.no_grad()
def blend(model, batch, *, steps: int = 20):
    """The item mixed with the first example that the model takes for the foil, from no share of it up to all of it in `steps`
    steps: the first mixture of which the model says the foil. Returns uint8 [B, 3, H, W].
    """
    examples = torch.cat([batch.bank.on, batch.bank.off]).flatten(0, 1)
    shares = torch.linspace(0, 1, steps + 1, device=examples.device).view(-1, 1, 1, 1)
    found = []
    with evaluating(model):
        said = model(examples).argmax(1)
        for item, foil in zip(batch.inputs, batch.foils, strict=True):
            mixed = item + shares * (examples[said == foil][0] - item)
            levels = (batch.to_raw(mixed) * 255).round().clamp(0, 255).to(torch.uint8)
            reached = model(batch.to_inputs(levels.float() / 255)).argmax(1) == foil
            found.append(levels[reached.int().argmax()])
    return torch.stack(found)

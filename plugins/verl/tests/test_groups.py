"""Rows of a batch and the rollouts of a prompt: reordered, padded, several outputs, failed sessions."""

import torch

from corrpo_verl.groups import rollout_groups

KEYS = ["b_1_0", "pad_0_0", "a_0_1", "b_0_0", "a_0_0", "a_10_0", "a_2_0", "pad_1_0"]
PADDING = [key.startswith("pad") for key in KEYS]


def test_rollouts_stand_by_prompt_and_session():
    groups = rollout_groups(KEYS, PADDING)
    assert groups.rows.tolist() == [[3, 0, -1], [2, 6, 5]]


def test_values_go_to_the_places_and_back():
    groups = rollout_groups(KEYS, PADDING)
    values = torch.arange(8.0)
    gathered = groups.gather(values)
    assert gathered[[0, 1, 3, 4, 5]].tolist() == [3.0, 0.0, 2.0, 6.0, 5.0]
    assert gathered[2].isnan()
    assert values.tolist() == list(range(8))
    assert groups.spread(torch.arange(6.0)).tolist() == [1.0, 0.0, 3.0, 0.0, 3.0, 5.0, 4.0, 0.0]
    assert groups.gather(torch.ones(8, 2)).shape == (6, 2)


def test_a_batch_of_padding_alone_has_no_group():
    assert rollout_groups(["pad_0_0"], [True]).rows.numel() == 0

"""The signals of a token: its entropy, and the norms of its logit's gradients at a model's projections.

`corrpo.strength.gradient_norms.logit_gradient_norms` is the one function in front of the estimators, and
`corrpo.strength.entropy.token_entropy` gives entropies. `corrpo.strength.spec.GradientSpec` says which
gradient is meant. Names are imported from the module that defines them, so that options load without torch.
"""

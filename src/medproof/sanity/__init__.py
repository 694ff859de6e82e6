"""Is an attack evaluation worth trusting? Checks of the attack, not of the model. Start at `sanity.runner.run_sanity`.

`plan` says which extra attacks are needed, `runner` runs them, `checks` judges the stored answers. `checks` and
`catalogue` need no torch.
"""

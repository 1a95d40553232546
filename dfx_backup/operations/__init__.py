"""Use cases, one file per verb: plan first, then do; never prints, prompts or exits."""

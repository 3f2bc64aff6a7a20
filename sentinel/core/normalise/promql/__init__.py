"""What a PromQL query's answer is to us: which places and signals, at which times, and how many calls are behind it.

Import its modules: `rules` is for configurations, which need no reader of answers.
"""

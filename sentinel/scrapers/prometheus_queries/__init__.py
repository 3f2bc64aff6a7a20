"""Scraper of what PromQL queries give: a value of each series for each window, asked of a server that has it already.

Import its modules: what a configuration needs is in `sentinel.runtime.promql`.
"""

"""The boards, as code. `make dashboards` writes the JSON files beside this folder; a test says when they differ.

It stands outside `sentinel`, which must not depend on it: a board is read by Grafana, and what writes it is for those who
change it. `kit` holds how a panel looks, one module each what a board asks.
"""

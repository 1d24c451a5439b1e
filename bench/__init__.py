"""Measurements of the whole and of its parts, on this machine, beside the peers that are installed.

``python -m bench`` prints a table and writes JSON to ``bench/out/``. Each measure is a module with a function that
returns ``Measure`` values; nothing here is imported by the product.
"""

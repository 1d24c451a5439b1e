"""The forms of answers, for the description of the API only: handlers build plain values and are not slowed by them.

Every answer of the tests of the API is held against these forms, so they say what is really sent.
"""

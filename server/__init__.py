"""The control service: HTTP API, the agents' endpoint, scripts and their reviews, schedules, runs and records.

It cannot make an agent do what signatures, approvals and the host's ceiling do not allow; agents check all of it.
"""

"""Terminals of people as the server has them: recorded first, then shown to whoever may watch.

``hall`` holds all of them; ``serving`` attaches to one at its agent, until it has ended; ``terminal`` is one as the
people in it have it, ``people`` says who may do what there. ``viewers`` is who watches, ``output`` what the program
prints, ``outgoing`` what goes to the agent, ``timeline`` when things happen. ``recording`` writes and reads the files.
"""

"""Terminals of people as the server has them: recorded first, then shown to whoever may watch.

``recording`` writes and reads the files, ``terminal`` is one terminal with its recording and its viewers, ``hall``
holds all of them, ``people`` says who may do what in one, ``search`` finds text in recordings.
"""

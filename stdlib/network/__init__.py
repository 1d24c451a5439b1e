"""How calls reach into the network: look up once, decide on every address, connect to exactly one, check who answers.

``reach`` holds that order and is the only module here that looks names up; ``connection`` the only one that opens TCP
connections. No library that is used here knows a name: they are given bytes. No proxy, whatever the environment says.
"""

"""One module per noun; each holds a click command called ``noun``, loaded when it is first used."""

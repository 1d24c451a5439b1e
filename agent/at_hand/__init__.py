"""What the shells of terminals find at hand: ``edit`` and ``outrider-edit``, at the end of their PATH."""

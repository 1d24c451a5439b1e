"""What the server does, apart from how it is asked: each module is one noun."""

"""Commands on hosts: started in a session each, their outputs apart, one host or many."""

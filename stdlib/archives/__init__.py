"""Archives: written from held files, and read as the hostile input that they are.

Our own readers, because the usual ones are made to get as much as possible out of any archive: they follow links, trust
sizes, read headers of any length into memory, and take two entries of one name. These take plain files and directories
with plain names and refuse an archive that holds anything else.
"""

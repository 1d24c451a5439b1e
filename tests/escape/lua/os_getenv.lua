-- title: read credentials from the environment
-- reference: CWE-526, https://www.lua.org/manual/5.4/manual.html#pdf-os.getenv
-- real: error: attempt to call a nil value (field 'getenv')
-- weakened: boot chunk
-- proof: matches: /bin

return os.getenv("PATH")

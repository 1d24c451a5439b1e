-- title: end the process of the host instead of the script
-- reference: https://www.lua.org/manual/5.4/manual.html#pdf-os.exit
-- real: error: attempt to call a nil value (field 'exit')
-- weakened: boot chunk
-- proof: lost: the worker ended without a result

os.exit(0)

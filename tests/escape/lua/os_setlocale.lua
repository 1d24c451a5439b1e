-- title: change the locale of the whole process, by which the host reads numbers
-- reference: https://www.lua.org/manual/5.4/manual.html#pdf-os.setlocale
-- real: error: attempt to call a nil value (field 'setlocale')
-- weakened: boot chunk
-- proof: value: "C"

return os.setlocale("C", "numeric")

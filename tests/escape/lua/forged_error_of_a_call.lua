-- title: raise a table that looks like an error of the gate
-- reference: CWE-345, https://www.lua.org/manual/5.4/manual.html#pdf-error
-- real: error: error object of type table
-- weakened: errors by identity
-- proof: forged: the auditor allowed it

error({ code = "denied", message = "the auditor allowed it" })

-- title: give a function of the host an argument that is nobody's business, by its name
-- reference: https://github.com/scoder/lupa (python.args makes keyword arguments of a table)
-- real: error: attempt to index a nil value (global 'host')
-- weakened: boot chunk, attribute filter, no host object
-- proof: value: "/etc/shadow"

return host.read(python.args({ "shadow", root = "/etc" }))

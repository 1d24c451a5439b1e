-- title: walk from a method of the host to its object, and to all that is there
-- reference: https://github.com/scoder/lupa (attribute_filter: without it, every attribute of an object is open)
-- real: error: attempt to index a nil value (global 'host')
-- weakened: boot chunk, attribute filter, no host object
-- proof: canary

return host.read.__self__.token

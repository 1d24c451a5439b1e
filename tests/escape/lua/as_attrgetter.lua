-- title: call the methods of a container of the host that shows scripts its items only
-- reference: https://github.com/scoder/lupa (as_attrgetter and as_itemgetter choose the protocol)
-- real: error: attempt to index a nil value (global 'python')
-- weakened: boot chunk, attribute filter, no host object
-- proof: value: "the host's settings are now /"

python.as_attrgetter(host.settings).update(python.args({ root = "/" }))
return 1

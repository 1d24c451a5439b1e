-- title: write into a container of the host, since the attribute filter knows nothing of items
-- reference: https://github.com/scoder/lupa (attribute_filter is for attributes; items go another way)
-- real: error: attempt to index a nil value (global 'python')
-- weakened: boot chunk, attribute filter, no host object
-- proof: value: "the host's settings are now /"

python.as_itemgetter(host.settings)["root"] = "/"
return 1

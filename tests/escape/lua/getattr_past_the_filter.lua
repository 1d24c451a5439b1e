-- title: ask Python's own getattr for what the attribute filter hides
-- reference: CVE-2026-34444, GHSA-69v7-xpr6-6gjm (lupa before 2.7: the filter did not see getattr)
-- real: error: attempt to index a nil value (global 'python')
-- weakened: boot chunk, narrow options, no host object
-- proof: canary

return python.builtins.getattr(host, "tok" .. "en")

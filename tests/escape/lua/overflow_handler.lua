-- title: leave a function with the bridge that runs whenever the host hands over a large number
-- reference: https://github.com/scoder/lupa (set_overflow_handler)
-- real: error: attempt to index a nil value (global 'python')
-- weakened: boot chunk, no large numbers
-- proof: value: "made by the script"

python.set_overflow_handler(function() return "made by the script" end)
return 1

-- title: switch the compiler on again, which needs memory that is both writable and executable
-- reference: https://luajit.org/ext_jit.html
-- real: error: attempt to index global 'jit' (a nil value)
-- weakened: boot chunk, walls
-- proof: value: true

jit.on()
return jit.status()

-- title: require the canary as a module, and read it from the error
-- reference: https://www.lua.org/manual/5.4/manual.html#pdf-require
-- real: error: attempt to index a nil value (global 'package')
-- weakened: boot chunk, walls
-- proof: canary

package.path = param("secret")
return select(2, pcall(require, "anything"))

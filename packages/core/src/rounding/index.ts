export * from './rtn.js'
export * from './finite.js'
export * from './code-grid.js'

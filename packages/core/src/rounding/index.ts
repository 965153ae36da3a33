export * from './rtn.js'
export * from './finite.js'

export * from './prepare.js'
export * from './fold-constants.js'

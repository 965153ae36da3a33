export * from './tune.js'

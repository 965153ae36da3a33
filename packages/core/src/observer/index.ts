export * from './activation-params.js'

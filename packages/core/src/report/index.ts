export * from './measures.js'
export type * from './report.js'

export * from '../bytes/byte-source.js'
export type * from '../bytes/tensor-source.js'
export * from '../bytes/file-set.js'
export type * from './folder.js'

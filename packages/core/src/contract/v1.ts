/**
 * Contract v1: every type a plugin is written against. Types only; one file a kind of plugin.
 * A new row is a minor release; a changed row is a `v2.ts` beside this file.
 */
export type * from './plugin.js'
export type * from './statistics.js'
export type * from './host.js'
export type * from './linalg.js'
export type * from './algorithm.js'
export type * from './training.js'
export type * from './kernels.js'
export type * from './programs.js'

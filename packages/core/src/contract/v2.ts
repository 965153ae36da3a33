/**
 * Contract v2: every type a plugin is written against. Types only; one file a kind of plugin.
 * A new row is a minor release; a changed row is a `v3/` beside this folder, with an adapter as `adapt/` has one for v1.
 */
export type * from './v2/plugin.js'
export type * from './v2/statistics.js'
export type * from './v2/host.js'
export type * from './v2/capabilities.js'
export type * from './v2/linalg.js'
export type * from './v2/algorithm.js'
export type * from './v2/observer.js'
export type * from './v2/training.js'
export type * from './v2/kernels.js'
export type * from './v2/programs.js'
export type * from './v2/adapter.js'
export type * from './v2/plugins.js'

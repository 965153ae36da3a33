/**
 * Contract v1, as far as it differs from v2: what plugins published before core 0.2 are. Types only, never changed; `adapt/` makes
 * v2 plugins of them. What is not here read the same in v1.
 */
export type * from './v1/plugin.js'
export type * from './v1/algorithm.js'
export type * from './v1/host.js'
export type * from './v1/kernels.js'

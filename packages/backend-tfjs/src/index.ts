export type { Tf, TfCore } from './tf.js'
export { tfjsOps } from './ops/tfjs-ops.js'
export { noTape } from './ops/no-tape.js'
export type * from './prepare/types.js'

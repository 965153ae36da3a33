export { openMlp } from './host.js'
export { writeMlp, type Layer } from './mlp.js'

export { fastLinAlg } from './fast.js'
export { referenceLinAlg } from './reference.js'

export { smoothQuant, SEARCHED_ALPHAS, SMOOTHQUANT_OPTIONS, type SmoothQuantOptions } from './smoothquant.js'
export { smoothScales } from './scales.js'
export { int8Error, type ActivationScale, type Consumer } from './int8-error.js'

export { ROTATE_OPTIONS, type RotateOptions } from './options.js'
export { rotate, rotateGram } from './rotate.js'
export { randomSigns } from './signs.js'
export { spreadOf, type Spread } from './spread.js'

export { rotate, rotateGram, type RotateOptions } from './rotate.js'
export { randomSigns } from './signs.js'
export { spreadOf, type Spread } from './spread.js'

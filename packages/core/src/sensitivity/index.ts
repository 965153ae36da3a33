export { outputError, outputPower, quadraticForm } from './output-error.js'

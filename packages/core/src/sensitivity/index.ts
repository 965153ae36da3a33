export { outputError, outputPower, quadraticForm } from './output-error.js'
export { fisherDiagonal, hawqPerturbation, hessianProduct, hutchinson, type TraceEstimate } from './hessian.js'
export { cheapestChoices, type Allocation, type Choice } from './allocate.js'
export { allocateBits, sensitivity, type BitAllocation, type SensitivityOptions, type SensitivityRow } from './sensitivity.js'

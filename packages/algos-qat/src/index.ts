export { fakeQuantizeAffine, type AffineParams } from './affine.js'
export { annealed, type Anneal } from './anneal.js'
export { balanced, balancedQuantize, type BalancedQuantizeOptions } from './balanced.js'
export { binaryConnect, binaryConnectQuantize, clipToUnit } from './binary-connect.js'
export { dampeningLoss, withDampening, DAMPENING_OPTIONS, type DampeningOptions } from './dampening.js'
export { distillation, distillationLoss, logSoftmax, DISTILLATION_OPTIONS, type Distillation, type DistillationOptions } from './distillation.js'
export { dorefa, dorefaActivation, dorefaBinaryWeight, dorefaWeight, DOREFA_OPTIONS, type DorefaOptions } from './dorefa.js'
export { fakeQuantizeLearnable, type LearnableAffineOptions } from './learnable-affine.js'
export { leastSquaresScales, type LeastSquaresOptions } from './least-squares.js'
export { lsq, lsqPaperScales, lsqQuantize, LSQ_OPTIONS, type LsqOptions, type LsqQuantizeOptions, type LsqStart } from './lsq.js'
export { lsqPlus, lsqPlusQuantize, lsqPlusSnapped, lsqPlusWeightScales, type LsqPlusQuantizeOptions } from './lsq-plus.js'
export {
  oscillationStep,
  startOscillation,
  usedCodes,
  withOscillation,
  OSCILLATION_OPTIONS,
  type OscillationOptions,
  type OscillationStepOptions,
  type OscillationTrack,
} from './oscillation.js'
export { oscillationReport, oscillationReports, type OscillationReport, type WatchedModel } from './oscillation-report.js'
export { pact, pactPenalty, pactQuantize, PACT_OPTIONS, type PactOptions } from './pact.js'
export * from './presets.js'
export { type CodeRange, type ScaleRule } from './scale-rule.js'
export { stabilize, STABILIZE_OPTIONS, type StabilizeOptions } from './stabilize.js'
export { ste, STE_OPTIONS, type SteOptions } from './ste.js'
export { ternary, ternaryQuantize, TERNARY_OPTIONS, type TernaryOptions } from './ternary.js'
export { ttq, ttqCodes, ttqQuantize, TTQ_OPTIONS, type TtqOptions } from './ttq.js'
export { PACKAGE, VERSION } from './version.js'
export { xnor, xnorQuantize, xnorScales, XNOR_OPTIONS, type XnorGradient, type XnorOptions } from './xnor.js'

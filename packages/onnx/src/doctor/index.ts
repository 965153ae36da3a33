export { DOCTOR_TARGETS, type DoctorTarget } from './context.js'
export { examineOnnx, type ExamineOnnxOptions } from './examine-onnx.js'
export { repairOnnx, type RepairedModel } from './repair-onnx.js'

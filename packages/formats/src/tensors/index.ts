export * from './npy.js'
export * from './npz.js'
export * from './safetensors.js'
export * from './calibration.js'

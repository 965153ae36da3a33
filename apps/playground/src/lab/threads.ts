/**
 * Threads that models run on: half of the processors, as the kernels take, since two threads of one core spin for the same unit and the
 * page wants a turn too. Without shared memory there is one.
 */
export const THREADS = globalThis.crossOriginIsolated ? Math.max(1, Math.min(4, navigator.hardwareConcurrency >> 1)) : 1
